"""The cache folder of this package; everything in it can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .paths import path_of


def cache_folder() -> Path:
    """Return `NBDIFFUSE_CACHE`, or this platform's folder for caches."""
    chosen = os.environ.get("NBDIFFUSE_CACHE")
    if chosen:
        return path_of(chosen, "NBDIFFUSE_CACHE")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nbdiffuse"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nbdiffuse" / "Cache"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative one.
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "nbdiffuse"

"""Checkpoints that ship with the package, and the world they were trained on."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from ..errors import CheckpointError, did_you_mean
from . import world

__all__ = ["identity", "names", "path", "world"]

_CHECKPOINTS = Path(__file__).parent / "checkpoints"


def names() -> list[str]:
    """Return the names of the checkpoints in this package."""
    return sorted(entry.name for entry in _CHECKPOINTS.iterdir() if (entry / "model_index.json").exists())


def path(name: str) -> Path:
    """Return the directory of an embedded checkpoint, in diffusers' own layout.

    Parameters
    ----------
    name
        Such as "sd15"; see `names`.

    Returns
    -------
    A directory that `from_pretrained` loads, offline.

    Raises
    ------
    CheckpointError
        There is no such checkpoint in this package.
    """
    if name not in names():
        raise CheckpointError(f"No embedded checkpoint is called {name!r}. {did_you_mean(name, names())}")
    return _CHECKPOINTS / name


@cache
def identity(name: str) -> str:
    """Check every file of an embedded checkpoint against the manifest and return what identifies it.

    Returns
    -------
    sha256 over the checkpoint's part of the manifest, in hexadecimal.

    Raises
    ------
    CheckpointError
        A file is missing or differs from the one that was shipped.
    """
    directory = path(name)
    manifest: dict[str, str] = json.loads((_CHECKPOINTS / "manifest.json").read_text())
    shipped = {file: digest for file, digest in manifest.items() if file.startswith(f"{name}/")}
    for file, digest in shipped.items():
        target = _CHECKPOINTS / file
        if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
            state = "differs from the file that was shipped" if target.is_file() else "is missing"
            raise CheckpointError(f"{file} in {directory.parent} {state}. Install nbdiffuse again.")
    return hashlib.sha256(json.dumps(shipped, sort_keys=True).encode()).hexdigest()

"""Image-to-image diffusion that lives in the notebook: cell magics, resident pipelines, labelled results."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import embedded
from .cells.reading import read
from .errors import NbdiffuseError
from .images.picture import Picture
from .recipes.chain import Chain
from .recipes.completion import resolve
from .recipes.presets import PRESETS
from .recipes.recipe import Recipe
from .replays.program import program
from .replays.replays import replay
from .replays.timeline import history
from .replays.verification import verify
from .runs.chain_run import ChainRun, run
from .runs.grid import Grid
from .runs.sweeping import sweep
from .sessions.remote import Devices
from .sessions.session import Session, get_session
from .version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .panels import Panel, panel
    from .results import Result

__all__ = [
    "PRESETS",
    "Chain",
    "ChainRun",
    "Devices",
    "Grid",
    "NbdiffuseError",
    "Panel",
    "Picture",
    "Recipe",
    "Result",
    "Session",
    "__version__",
    "embedded",
    "get_session",
    "history",
    "load_ipython_extension",
    "panel",
    "program",
    "read",
    "replay",
    "resolve",
    "run",
    "sweep",
    "verify",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add `%%img2img` and `%%txt2img` to a notebook (`%load_ext nbdiffuse`)."""
    from .magics import magics

    # Magics and panels know each other only here; ipywidgets are imported with the first panel.
    magics.load(shell, lambda: importlib.import_module(".panels", __name__))


def __getattr__(name: str) -> Any:
    if name == "Result":
        from .results import Result

        return Result
    if name in ("Panel", "panel"):
        return getattr(importlib.import_module(".panels", __name__), name)
    raise AttributeError(f"module 'nbdiffuse' has no attribute {name!r}")

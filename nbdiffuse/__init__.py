"""Image-to-image diffusion that lives in the notebook: cell magics, resident pipelines, labelled results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import embedded
from .errors import NbdiffuseError
from .images import Picture
from .presets import PRESETS, resolve
from .recipe import Recipe
from .session import Session, get_session, run
from .sweeping import Grid, sweep
from .version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .results import Result

__all__ = [
    "PRESETS",
    "Grid",
    "NbdiffuseError",
    "Picture",
    "Recipe",
    "Result",
    "Session",
    "__version__",
    "embedded",
    "get_session",
    "load_ipython_extension",
    "resolve",
    "run",
    "sweep",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add `%%img2img` and `%%txt2img` to a notebook (`%load_ext nbdiffuse`)."""
    from . import magics

    magics.load(shell)


def __getattr__(name: str) -> Any:
    if name == "Result":
        from .results import Result

        return Result
    raise AttributeError(f"module 'nbdiffuse' has no attribute {name!r}")

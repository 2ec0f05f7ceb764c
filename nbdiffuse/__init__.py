"""Image-to-image diffusion in Jupyter notebooks: cell magics, pipelines that stay in memory, labelled results."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from . import embedded
    from .batches.batch import Batch
    from .batches.batch_api import batch
    from .cells.from_file import read
    from .errors import NbdiffuseError
    from .images.picture import Picture
    from .panels import MaskPainter, Panel, paint_mask, panel
    from .recipes.chain import Chain
    from .recipes.ip_adapter import IPAdapter
    from .recipes.lora import Lora
    from .recipes.parts import ControlNet, Mask
    from .recipes.presets import PRESETS
    from .recipes.recipe import Recipe
    from .recipes.resolve import resolve
    from .recipes.textual_inversion import TextualInversion
    from .results import Result
    from .runs.chain_run import ChainRun, run
    from .runs.editing import edit
    from .runs.grid import Grid
    from .runs.program import program
    from .runs.replay import replay
    from .runs.suggest import suggest
    from .runs.sweep_api import sweep
    from .runs.verify import verify
    from .sessions.history import history
    from .sessions.remote import Devices
    from .sessions.session import Session, get_session

_HOMES = {
    "Batch": "batches.batch",
    "PRESETS": "recipes.presets",
    "Chain": "recipes.chain",
    "ChainRun": "runs.chain_run",
    "ControlNet": "recipes.parts",
    "Devices": "sessions.remote",
    "Grid": "runs.grid",
    "IPAdapter": "recipes.ip_adapter",
    "Lora": "recipes.lora",
    "Mask": "recipes.parts",
    "MaskPainter": "panels",
    "NbdiffuseError": "errors",
    "Panel": "panels",
    "Picture": "images.picture",
    "Recipe": "recipes.recipe",
    "Reference": "recipes.reference",
    "Result": "results",
    "Session": "sessions.session",
    "TextualInversion": "recipes.textual_inversion",
    "batch": "batches.batch_api",
    "edit": "runs.editing",
    "get_session": "sessions.session",
    "history": "sessions.history",
    "paint_mask": "panels",
    "panel": "panels",
    "program": "runs.program",
    "read": "cells.from_file",
    "replay": "runs.replay",
    "resolve": "recipes.resolve",
    "run": "runs.chain_run",
    "suggest": "runs.suggest",
    "sweep": "runs.sweep_api",
    "verify": "runs.verify",
}
"""Where each public name lives; it is imported when it is first used."""

__all__ = [
    "PRESETS",
    "Batch",
    "Chain",
    "ChainRun",
    "ControlNet",
    "Devices",
    "Grid",
    "IPAdapter",
    "Lora",
    "Mask",
    "MaskPainter",
    "NbdiffuseError",
    "Panel",
    "Picture",
    "Recipe",
    "Reference",
    "Result",
    "Session",
    "TextualInversion",
    "__version__",
    "batch",
    "edit",
    "embedded",
    "get_session",
    "history",
    "load_ipython_extension",
    "paint_mask",
    "panel",
    "program",
    "read",
    "replay",
    "resolve",
    "run",
    "suggest",
    "sweep",
    "verify",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a notebook (`%load_ext nbdiffuse`)."""
    from .magics.extension import load

    load(shell)


def __getattr__(name: str) -> Any:
    if name == "embedded":
        return importlib.import_module(".embedded", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'nbdiffuse' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Front end: the browser's parts from anywidget where it is installed, else from plain ipywidgets."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .anywidget_parts import Clipboard, Compare, ImageInput, MaskCanvas

LIVELY = find_spec("anywidget") is not None
"""Whether pictures can be dropped, pasted, compared and painted over, and cells be put into the notebook."""

if not TYPE_CHECKING:
    if LIVELY:
        from .anywidget_parts import Clipboard, Compare, ImageInput, MaskCanvas
    else:
        from .ipywidgets_parts import Clipboard, Compare, ImageInput, MaskCanvas

__all__ = ["LIVELY", "Clipboard", "Compare", "ImageInput", "MaskCanvas"]

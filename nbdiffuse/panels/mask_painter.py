"""Mask painter: a canvas in a cell of its own, and the mask that a person paints on it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from PIL import Image

from ..images.masks import as_mask
from ..images.picture import Picture
from .actions.actions import button
from .inputs.painted_mask import PAINTED, begun, cell_of_mask, check_paintable, png_of, shown
from .output.html_lines import note
from .output.static_output import StaticOutput
from .runtime.callback_thread import get_callback_thread
from .runtime.events import on_click
from .runtime.frontend import LIVELY, Clipboard, MaskCanvas

NAME = "nbdiffuse mask"
REST = 0.5
"""Seconds for which nothing must be painted before the saved notebook gets another picture."""


class MaskPainter:
    """A canvas over a picture; shown by being the last value of a cell.

    Parameters
    ----------
    image
        Picture that the mask is painted over.
    mask
        What is painted at first; nothing when None.
    name
        What the mask is called in the cell that holds it.
    on_change
        Called with the mask after everything that was painted, and once at first.

    Raises
    ------
    ImageInputError
        The picture is larger than a browser can have painted over.
    """

    def __init__(
        self, image: Picture, mask: Picture | None = None, name: str = "mask", on_change: Callable[[Picture], None] | None = None
    ) -> None:
        check_paintable(image)
        self.image, self._name, self._on_change = image, name, on_change or (lambda mask: None)
        self._thread = get_callback_thread()
        self._canvas, self._clipboard = MaskCanvas(self._thread, self._painted), Clipboard(self._thread, self._offer_text)
        self._static = StaticOutput(NAME)
        self._text = widgets.Textarea(description="copy this cell", rows=5, layout={"display": "none", "width": "auto"})
        cell = button("Insert cell", "plus", "put a cell below that holds the mask, without a file")
        file = button("Download", "download", "the mask as a PNG, black and white")
        on_click(cell, self._thread, lambda: self._insert(cell_of_mask(self._name, self._grey)))
        on_click(file, self._thread, lambda: self._clipboard.hand_over(f"{self._name}.png", png_of(self._grey)))
        row = widgets.HBox([cell, file, widgets.HTML(note(f"in a cell: --mask-image {name}"))])
        row.layout.grid_gap = "6px"
        cell.layout.margin = file.layout.margin = "0"
        parts = [self._canvas.widget, *([row] if LIVELY else []), self._text, self._clipboard.widget]
        self.widget = widgets.VBox(parts, layout={"max_width": "640px", "grid_gap": "6px"})
        self.mask = mask if mask is not None else Image.new("L", image.size, 0)

    @property
    def mask(self) -> Picture:
        """What is painted; set it to put another mask on the canvas, of any kind that `Recipe` takes."""
        return self._mask

    @mask.setter
    def mask(self, mask: Any) -> None:
        given = as_mask(Picture.of(mask, PAINTED) if not isinstance(mask, Picture) else mask)
        grey = begun(self.image, given)
        self._canvas.show(self.image.image, grey, f"picture {self.image.label}")
        self._keep(given if given.size == self.image.size else Picture.of(grey, PAINTED), grey)
        self._store()

    def _painted(self, grey: Image.Image) -> None:
        self._keep(Picture.of(grey, PAINTED), grey)
        self._thread.post(self._store, REST, f"mask {id(self)}")

    def _keep(self, mask: Picture, grey: Image.Image) -> None:
        self._mask, self._grey = as_mask(mask), grey
        self._on_change(self._mask)

    def _store(self) -> None:
        self._static.update(_Shown(shown(self.image.image, self._grey)))

    def _insert(self, text: str) -> None:
        self._text.layout.display = "none"
        self._clipboard.insert(text)

    def _offer_text(self, text: str) -> None:
        self._text.value = text
        self._text.layout.display = ""

    def _ipython_display_(self) -> None:
        self._static.display(self.widget)

    def __repr__(self) -> str:
        return "MaskPainter()"


class _Shown:
    """A picture for the saved notebook."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def _repr_mimebundle_(self) -> dict[str, Any]:
        file = io.BytesIO()
        self._image.save(file, "PNG", optimize=True)
        return {"image/png": file.getvalue()}

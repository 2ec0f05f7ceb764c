"""Mask input: an image input whose picture can be painted, over the initial one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError
from ...families.parameters import Param
from ...images.picture import Picture
from ..output.html_lines import note
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_user_change
from ..runtime.frontend import MaskCanvas
from .image_input import PanelContext, PictureControl
from .painted_mask import PAINTED, begun, check_paintable

NO_PICTURE = "The mask is painted over the initial picture, and there is none yet: give one first, then paint."


class MaskControl(PictureControl):
    """An image input with a canvas that can be unfolded; what is painted is the mask."""

    def __init__(
        self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None], context: PanelContext
    ) -> None:
        self._value: Picture | str | None = None
        self._drawn: tuple[Picture | None, Picture | str | None] | None = None
        self._canvas: MaskCanvas | None = None
        self._thread = thread
        super().__init__(name, param, thread, on_change, context)
        self._paint = widgets.ToggleButton(
            description="Paint", icon="paint-brush", tooltip="paint the mask over the initial picture"
        )
        self._row.children = (*self._row.children, self._paint)
        on_user_change(self._paint, thread, self._unfold)

    def show(self, value: Picture | str | None) -> None:
        """Show a mask, a word that stands for one, or that there is none."""
        self._value = value
        super().show(value)

    def follow(self) -> None:
        """Put the initial picture and the mask on the canvas, where it is unfolded and does not show them yet."""
        if self._canvas is None or not self._paint.value:
            return
        picture = self._context.initial()
        if self._drawn == (picture, self._value):
            return
        self._drawn = picture, self._value
        problem = NO_PICTURE if picture is None else ""
        try:
            if picture is not None:
                check_paintable(picture)
                mask = begun(picture, self._value if isinstance(self._value, Picture) else None)
                self._canvas.show(picture.image, mask, f"initial picture {picture.label}")
        except NbdiffuseError as error:
            problem = str(error)
        self._said.value = note(problem) if problem else ""
        self._canvas.widget.layout.display = "none" if problem else ""

    def _unfold(self) -> None:
        if self._canvas is None:
            self._canvas, self._said = MaskCanvas(self._thread, self._painted), widgets.HTML()
            self.widget.children = (*self.widget.children, self._said, self._canvas.widget)
        if self._paint.value:
            self.follow()
        else:
            self._said.value, self._canvas.widget.layout.display = "", "none"
            self._drawn = None

    def _painted(self, mask: Any) -> None:
        painted = Picture.of(mask, PAINTED)
        self._drawn = self._context.initial(), painted
        self._take(lambda: painted, None)

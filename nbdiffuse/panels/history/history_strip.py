"""History strip: thumbnails of the panel's past results; a click brings one back with its settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import ipywidgets as widgets

from ...results import Result, result_label
from ..output.html_lines import image
from ..output.thumbnails import encoded
from ..runtime.callback_thread import CallbackThread
from ..runtime.closing import close
from ..runtime.events import on_click

LONGEST = 24
"""Results that a panel keeps."""


class HistoryStrip:
    """Thumbnails of past results, the newest first.

    Parameters
    ----------
    on_choice
        Called on the callback thread with the result that was pressed.
    """

    _numbers = itertools.count(1)

    def __init__(self, thread: CallbackThread, on_choice: Callable[[Result], None]) -> None:
        self.results: list[Result] = []
        self.widget = widgets.HBox().add_class("nbd-strip")
        self._thread, self._on_choice = thread, on_choice
        self._chosen: widgets.Widget | None = None

    def choose(self, result: Result) -> None:
        """Mark the result that is in the output view; a new one comes in front."""
        if result not in self.results:
            self._add(result)
        self._mark(self.widget.children[self.results.index(result)])

    def _add(self, result: Result) -> None:
        self.results.insert(0, result)
        item = self._item(result)
        dropped = self.widget.children[LONGEST - 1 :]
        del self.results[LONGEST:]
        self.widget.children = (item, *self.widget.children[: LONGEST - 1])
        for old in dropped:
            close(old)

    def _item(self, result: Result) -> widgets.Widget:
        label = " ".join(result_label(result.recipe).split())
        # A plain button cannot hold a picture: it lies over one.
        picture = widgets.HTML(image(encoded(result.image, 128), ""))
        button = widgets.Button(description=label, tooltip=f"bring back {label}")
        on_click(button, self._thread, lambda: self._on_choice(result))
        return widgets.Box([picture, button]).add_class("nbd-past")

    def _mark(self, item: widgets.Widget) -> None:
        if self._chosen is not None:
            self._chosen.remove_class("nbd-chosen")
        self._chosen = item.add_class("nbd-chosen")

"""History strip: thumbnails of the panel's past results, to bring back, star, delete and compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...results import Result, result_label
from ..output.thumbnail_button import thumbnail_button
from ..runtime.callback_thread import CallbackThread
from ..runtime.closing import close
from ..runtime.events import on_click, on_user_change

LONGEST = 24
"""Results that a panel keeps, starred ones apart."""
CHOSEN, STARRED = "nbd-chosen", "nbd-starred"


class HistoryStrip:
    """Thumbnails of past results, the newest first, and what can be done with the one that is in the output view.

    Parameters
    ----------
    on_choice
        Called on the callback thread with the result that was pressed.
    on_compare
        Called on the callback thread with the result that others are to be compared with, or None.
    """

    def __init__(
        self, thread: CallbackThread, on_choice: Callable[[Result], None], on_compare: Callable[[Result | None], None]
    ) -> None:
        self.results: list[Result] = []
        self._items: list[Any] = []
        self._thread, self._on_choice, self._on_compare = thread, on_choice, on_compare
        self._chosen: Result | None = None
        self._strip = widgets.HBox().add_class("nbd-strip")
        self._star = widgets.Button(description="Star", icon="star", tooltip="keep this result in the row, or no longer")
        self._delete = widgets.Button(description="Delete", icon="trash", tooltip="take this result out of the row")
        self._compare = widgets.ToggleButton(
            description="Compare with this", icon="columns", tooltip="show this result on the left of those that are pressed next"
        )
        self._tools = widgets.HBox([self._star, self._delete, self._compare]).add_class("nbd-buttons")
        self._tools.layout.display = "none"
        self.widget = widgets.VBox([self._strip, self._tools]).add_class("nbd-history")
        on_click(self._star, thread, self._change_star)
        on_click(self._delete, thread, self._remove_chosen)
        on_user_change(self._compare, thread, lambda: on_compare(self._chosen if self._compare.value else None))

    def choose(self, result: Result) -> None:
        """Mark the result that is in the output view; a new one comes in front."""
        if result not in self.results:
            self._add(result)
        for other, item in zip(self.results, self._items, strict=True):
            item.add_class(CHOSEN) if other is result else item.remove_class(CHOSEN)
        self._chosen = result
        self._tools.layout.display = ""
        self._star.description = "Unstar" if self.starred(result) else "Star"

    def starred(self, result: Result) -> bool:
        """Whether a result is starred."""
        return STARRED in self._items[self.results.index(result)]._dom_classes

    def _add(self, result: Result) -> None:
        label = " ".join(result_label(result.recipe).split())
        item = thumbnail_button(result, label, f"bring back {label}", self._thread, self._on_choice)
        self.results.insert(0, result)
        self._items.insert(0, item)
        old = [one for one in self.results if not self.starred(one)][LONGEST:]
        for one in old:
            self._remove(one)
        self._show()

    def _remove(self, result: Result) -> None:
        place = self.results.index(result)
        del self.results[place]
        item = self._items.pop(place)
        self._show()
        close(item)

    def _show(self) -> None:
        self._strip.children = tuple(self._items)

    def _remove_chosen(self) -> None:
        if self._chosen is None:
            return
        if self._chosen in self.results:
            self._remove(self._chosen)
        self._chosen = None
        self._tools.layout.display = "none"

    def _change_star(self) -> None:
        if self._chosen is None:
            return
        item = self._items[self.results.index(self._chosen)]
        item.remove_class(STARRED) if self.starred(self._chosen) else item.add_class(STARRED)
        self._star.description = "Unstar" if self.starred(self._chosen) else "Star"

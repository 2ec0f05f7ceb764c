"""The row of buttons below a panel: insert a cell, write a program, save a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import ipywidgets as widgets

from ...errors import ParameterError
from ...files.atomic import write_atomic
from ...results import Result
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_click
from ..runtime.frontend import Clipboard
from .exports import file_of

LARGEST_DOWNLOAD = 2_000_000
"""Bytes of a file that goes through the kernel's connection; larger ones are written beside the notebook."""


class Subject(Protocol):
    """The panel, as its actions see it; everything is called on the callback thread."""

    @property
    def shown(self) -> Result | None: ...
    def as_cell(self) -> tuple[str, list[str]]: ...
    def as_program(self) -> tuple[str, list[str]]: ...
    def say(self, text: str) -> None: ...
    def guarded(self, work: Callable[..., None]) -> Callable[..., None]: ...


class Actions:
    """A row of buttons, and a place for a text that the page has no cell for.

    Parameters
    ----------
    subject
        Gives what is taken elsewhere.
    first
        Further buttons of the panel's own, which stand before these.
    """

    def __init__(self, thread: CallbackThread, subject: Subject, first: Sequence[Any] = ()) -> None:
        self._subject = subject
        self._hands = Clipboard(thread, self._offer_text)
        self._text = widgets.Textarea(description="copy this cell", rows=5, layout={"display": "none", "width": "auto"})
        self._text.add_class("nbd-cell")
        self._download = button("Download", "download", "a PNG with its recipe inside")
        cell = button("Insert cell", "plus", "put the cell that makes this below the panel")
        script = button("To script", "code", "a program of plain diffusers calls that gives the same pixels")
        row = widgets.HBox([*first, cell, script, self._download]).add_class("nbd-buttons")
        self.widget = widgets.VBox([row, self._text, self._hands.widget])
        on_click(self._download, thread, subject.guarded(self._hand_over))
        on_click(cell, thread, subject.guarded(self._to_cell))
        on_click(script, thread, subject.guarded(self._to_script))

    def enable(self, there: bool) -> None:
        """Offer what needs a result, or not."""
        self._download.disabled = not there

    def result(self) -> Result:
        """Return what is in the output view, or raise that there is nothing."""
        if self._subject.shown is None:
            raise ParameterError("There must be a result for this, and there is none. Press Run.")
        return self._subject.shown

    def _to_cell(self) -> None:
        text, written = self._subject.as_cell()
        self._insert(text)
        self._subject.say("; ".join(["The cell is below", *written]) + ".")

    def _to_script(self) -> None:
        text, written = self._subject.as_program()
        self._insert(text)
        self._subject.say("; ".join(["The program is below", *written]) + ".")

    def _insert(self, text: str) -> None:
        self._text.layout.display = "none"
        self._hands.insert(text)

    def _offer_text(self, text: str) -> None:
        self._text.value = text
        self._text.layout.display = ""
        self._subject.say("This page takes no cells from a panel: copy the text below.")

    def _hand_over(self) -> None:
        name, content = file_of(self.result())
        if len(content) <= LARGEST_DOWNLOAD:
            self._hands.hand_over(name, content)
            self._subject.say(f"{name} is handed to the browser.")
        else:
            write_atomic(Path(name), content)
            self._subject.say(f"{name} is written beside the notebook.")


def button(description: str, icon: str, tooltip: str) -> Any:
    """Return a button with an icon."""
    return widgets.Button(description=description, icon=icon, tooltip=tooltip)

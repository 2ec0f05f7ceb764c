"""Controls for texts, choices, sizes and the seed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ...errors import ParameterError, breaks_rule
from ...families.parameters import Param
from ...sweeps.axes import values_of
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_click, on_user_change
from .number_controls import label_of, tooltip_of

OPEN = ""
"""What a choice is called that was not made."""
DRAWN = "drawn for each run"
"""What stands in the place of a seed that nobody set."""


class TextControl:
    """A box for text.

    Parameters
    ----------
    rows
        Lines that the box shows; 1 makes a box without line breaks.
    required
        Whether an empty text is a text; else it leaves the field open.
    """

    def __init__(
        self,
        name: str,
        param: Param,
        thread: CallbackThread,
        on_change: Callable[[Any], None],
        rows: int = 1,
        required: bool = False,
    ) -> None:
        common = {"description": label_of(name), "tooltip": tooltip_of(name, param), "placeholder": param.help}
        if rows > 1:
            self.widget: Any = widgets.Textarea(rows=rows, **common)
        else:
            self.widget = widgets.Text(continuous_update=False, **common)
        self._required, self._on_change = required, on_change
        on_user_change(self.widget, thread, self._typed)

    def show(self, value: Any) -> None:
        """Show a text; None is empty. The home directory of a path stands as "~"."""
        text, home = value or "", str(Path.home())
        self.widget.value = "~" + text[len(home) :] if text.startswith(home + "/") else text

    def _typed(self) -> None:
        text = self.widget.value
        self._on_change(text if text or self._required else None)


class ChoiceControl:
    """A list of choices; the empty one leaves the field open."""

    def __init__(
        self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None], choices: Sequence[str] = ()
    ) -> None:
        self._on_change = on_change
        self.widget = widgets.Dropdown(
            options=choices or param.choices or (), description=label_of(name), tooltip=tooltip_of(name, param)
        )
        on_user_change(self.widget, thread, lambda: on_change(self.widget.value or None))

    def offer(self, choices: Sequence[str], value: Any) -> None:
        """Show other choices, and which one is made; one that is not among them is added."""
        value = OPEN if value is None else value
        options = tuple(choices) if value in choices else (value, *choices)
        if tuple(self.widget.options) != options:
            with self.widget.hold_sync():
                self.widget.options = options
                self.widget.value = value
        self.show(value)

    def show(self, value: Any) -> None:
        """Show which choice is made."""
        value = OPEN if value is None else value
        if value in self.widget.options:
            self.widget.value = value


class SwitchControl:
    """A box to tick."""

    def __init__(self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None]) -> None:
        self.widget = widgets.Checkbox(description=label_of(name), tooltip=tooltip_of(name, param))
        on_user_change(self.widget, thread, lambda: on_change(self.widget.value))

    def show(self, value: Any) -> None:
        """Show whether it is ticked; None is not."""
        self.widget.value = bool(value)


class SizeControl(TextControl):
    """A side of the result in pixels, typed; what it will be stands there where nothing was typed."""

    def __init__(self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None]) -> None:
        super().__init__(name, param, thread, on_change)
        self._name = name

    def show(self, value: Any) -> None:
        """Show a size that was asked for; None is empty."""
        self.widget.value = "" if value is None else str(value)

    def expect(self, value: int | None) -> None:
        """Show, while nothing is typed, what the size will be."""
        self.widget.placeholder = f"{value}, from the picture" if value else "from the picture"

    def _typed(self) -> None:
        text = self.widget.value.strip()
        self._on_change(typed_number(self._name, text) if text else None)


def typed_number(name: str, text: str) -> Callable[[], Any]:
    """Return what reads a typed number when it is needed, or raises `ParameterError` in the words of its field."""

    def read() -> Any:
        values = values_of(name, text)
        if len(values) != 1:
            raise ParameterError(breaks_rule(name, "one value", text, "For several, use the sweep."))
        return values[0]

    return read


class SeedControl:
    """A seed that is drawn for each run, or held.

    It is text, because numbers of a browser are exact only up to 2**53.
    """

    def __init__(self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None]) -> None:
        self._on_change = on_change
        self._name = name
        self._text = widgets.Text(
            description=label_of(name), tooltip=tooltip_of(name, param), placeholder=DRAWN, continuous_update=False
        )
        self._dice = widgets.Button(description="New seed", icon="random", tooltip="draw another seed and keep it")
        self._lock = widgets.ToggleButton(description="Keep seed", icon="unlock", tooltip="keep this seed for the next runs")
        row = widgets.HBox([self._text, self._dice, self._lock]).add_class("nbd-seed")
        self.widget = row
        self.drawn: int | None = None
        on_user_change(self._text, thread, self._typed)
        on_user_change(self._lock, thread, self._locked)
        on_click(self._dice, thread, self._roll)

    def show(self, value: Any) -> None:
        """Show a seed that is held; None leaves the box empty, with the seed that was drawn last as a hint."""
        self._text.value = "" if value is None else str(value)
        self._text.placeholder = DRAWN if self.drawn is None else f"{self.drawn}, drawn"
        self._lock.value = value is not None
        self._lock.icon = "lock" if value is not None else "unlock"

    def _typed(self) -> None:
        text = self._text.value.strip()
        self._on_change(typed_number(self._name, text) if text else None)

    def _locked(self) -> None:
        if not self._lock.value:
            self._on_change(None)
        elif self._text.value.strip():
            self._typed()
        elif self.drawn is not None:
            self._on_change(self.drawn)
        else:
            self._roll()

    def _roll(self) -> None:
        self._on_change(secrets.randbelow(2**32))

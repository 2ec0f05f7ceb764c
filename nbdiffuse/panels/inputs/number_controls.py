"""Number controls: a box that takes every value, and a slider over the usual ones."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...families.parameters import Param
from ...families.step_rules import BY_STRENGTH, run_steps, strengths_by_steps
from ...recipes.fields import first_name
from ...recipes.recipe import PARAMS
from ...recipes.steps import equivalent_strengths
from ..output.html_lines import note
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_user_change


def label_of(name: str) -> str:
    """Return what a control is called: what people call the field, else its own name; that of a further part has its number."""
    number, first = re.search(r"\.([0-9]+)", name), first_name(name)
    said = (PARAMS[first].label if first in PARAMS else "") or first.replace("_", " ")
    return said + (f" {number[1]}" if number else "")


def tooltip_of(name: str, param: Param) -> str:
    """Return what a control says of itself: what it is, and diffusers' name for it."""
    return f"{param.help} ({name})"


def nearest_place(value: float, low: float, high: float, step: float | None) -> float:
    """Return where a browser's slider stands for a value, to the last bit: it sends back what differs.

    Parameters
    ----------
    value
        Any number.
    low, high
        The slider's ends.
    step
        How far its places are apart, above 0; None where it stands anywhere.
    """
    if step is None:
        return min(max(value, low), high)
    # As noUiSlider 15 computes it, in percent of the slider's length.
    place = math.floor((max(value, low) - low) * 100 / (high - low) / (step * 100 / (high - low)) + 0.5)
    percent = place * (step * 100 / (high - low))
    return high if value >= high or percent >= 100 else percent * (high - low) / 100 + low


class NumberControl:
    """A box and a slider for one number.

    Parameters
    ----------
    name, param
        Field of a recipe and its declaration.
    thread
        Where changes are taken up.
    on_change
        Called on the callback thread with what a person set.
    """

    def __init__(self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None]) -> None:
        whole = param.kind is int
        low, high = param.usual or (param.low, param.high)
        box = widgets.BoundedIntText if whole else widgets.BoundedFloatText
        self._whole, self._on_change = whole, on_change
        self._box = box(
            min=param.low, max=param.high, step=param.step, description=label_of(name), tooltip=tooltip_of(name, param)
        )
        self._slider = self._made_slider(name, param, low, high)
        self._hint, self._missed = widgets.HTML(), None
        self.widget = widgets.VBox([self._box, self._slider, self._hint]).add_class("nbd-number")
        self._waits = (on_user_change(self._box, thread, self._typed), on_user_change(self._slider, thread, self._slid))

    def _made_slider(self, name: str, param: Param, low: float, high: float) -> Any:
        kind = widgets.IntSlider if self._whole else widgets.FloatSlider
        slider = kind(min=low, max=high, step=param.step, readout=False, tooltip=tooltip_of(name, param))
        return slider.add_class("nbd-slider-" + name)

    def show(self, value: Any) -> None:
        """Show a value without telling anybody; None shows nothing new, nor does any while what a person set waits."""
        self._missed = value if any(waits() for waits in self._waits) else None
        if value is not None and self._missed is None:
            self._box.value = value
            self._set_slider(value)

    def _set_slider(self, value: Any) -> None:
        # Between two places a browser would move it to the nearer one, and send that back as if a person had.
        self._slider.value = self._place_of(value)

    def _place_of(self, value: Any) -> Any:
        low, high = self._slider.min, self._slider.max
        return min(max(value, low), high) if self._whole else nearest_place(value, low, high, self._slider.step)

    def _typed(self) -> None:
        value = self._box.value
        self._set_slider(value)
        self._on_change(value)

    def _slid(self) -> None:
        if self._is_in_place():
            self.show(self._missed)
            return
        self._box.value = value = self._value_there()
        self._on_change(value)

    def _is_in_place(self) -> bool:
        """Return whether the slider stands where it does for what is in the box."""
        return bool(self._place_of(self._slider.value) == self._place_of(self._box.value))

    def _value_there(self) -> Any:
        # A slider adds its steps up in floating point.
        return self._slider.value if self._whole else round(self._slider.value, 6)


class StrengthControl(NumberControl):
    """Strength: the slider counts the steps that really run, so it rests only where the image changes."""

    _HUNDREDTHS = 100
    """Places of the slider where all steps run, whatever the strength."""

    def _made_slider(self, name: str, param: Param, low: float, high: float) -> Any:
        self._steps, self._rule = 0, "floor"
        return widgets.IntSlider(min=1, max=1, readout=False, tooltip=tooltip_of(name, param)).add_class("nbd-slider-" + name)

    def show_steps(self, num_inference_steps: int, rule: str = "floor") -> None:
        """Give the slider a place for each step of this schedule, and say what the strength shown will run.

        Parameters
        ----------
        num_inference_steps
            Length of the schedule, in [1, 1000] steps.
        rule
            How the family counts them, a key of `step_rules.RULES`.
        """
        if (num_inference_steps, rule) != (self._steps, self._rule):
            self._steps, self._rule = num_inference_steps, rule
            # One after the other: a browser that gets both at once holds the value to the old end and sends it back.
            places = num_inference_steps if rule in BY_STRENGTH else self._HUNDREDTHS
            self._slider.max = max(self._slider.max, places)
            self._set_slider(self._box.value)
            self._slider.max = places
        self._describe()

    def _set_slider(self, value: Any) -> None:
        if self._steps:
            self._slider.value = max(1, self._place_of(value))
            self._describe()

    def _place_of(self, strength: float) -> int:
        counted = self._rule in BY_STRENGTH
        return run_steps(self._steps, strength, self._rule) if counted else round(strength * self._HUNDREDTHS)

    def _slid(self) -> None:
        super()._slid()
        self._describe()

    def _is_in_place(self) -> bool:
        return bool(self._place_of(self._box.value) == self._slider.value)

    def _value_there(self) -> float:
        places = strengths_by_steps(self._steps, self._rule) if self._rule in BY_STRENGTH else None
        return float(places[self._slider.value - 1] if places else self._slider.value / self._HUNDREDTHS)

    def _describe(self) -> None:
        strength = self._box.value
        count = run_steps(self._steps, strength, self._rule)
        low, high = equivalent_strengths(self._steps, strength, self._rule) if self._rule in BY_STRENGTH else (strength, strength)
        same = f"; {low:g} to {high:g} draw the same image" if low < high and count else ""
        self._hint.value = note(f"runs {count} of {self._steps} steps{same}")

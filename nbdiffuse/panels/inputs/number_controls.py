"""Number controls: a box that takes every value, and a slider over the usual ones."""

from __future__ import annotations

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
        self._hint = widgets.HTML()
        self.widget = widgets.VBox([self._box, self._slider, self._hint]).add_class("nbd-number")
        on_user_change(self._box, thread, self._typed)
        on_user_change(self._slider, thread, self._slid)

    def _made_slider(self, name: str, param: Param, low: float, high: float) -> Any:
        kind = widgets.IntSlider if self._whole else widgets.FloatSlider
        slider = kind(min=low, max=high, step=param.step, readout=False, tooltip=tooltip_of(name, param))
        return slider.add_class("nbd-slider-" + name)

    def show(self, value: Any) -> None:
        """Show a value without telling anybody; None shows nothing new."""
        if value is not None:
            self._box.value = value
            self._set_slider(value)

    def _set_slider(self, value: Any) -> None:
        self._slider.value = min(max(value, self._slider.min), self._slider.max)

    def _typed(self) -> None:
        value = self._box.value
        self._set_slider(value)
        self._on_change(value)

    def _slid(self) -> None:
        # A slider adds its steps up in floating point.
        value = self._slider.value if self._whole else round(self._slider.value, 6)
        if value == self._box.value:
            return  # A browser sends 7.5 back as 7.500000000000001.
        self._box.value = value
        self._on_change(value)


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
        if self._place_of(self._box.value) == self._slider.value:
            return
        counted = self._rule in BY_STRENGTH
        places = strengths_by_steps(self._steps, self._rule) if counted else None
        strength = places[self._slider.value - 1] if places else self._slider.value / self._HUNDREDTHS
        self._box.value = strength
        self._on_change(strength)
        self._describe()

    def _describe(self) -> None:
        strength = self._box.value
        count = run_steps(self._steps, strength, self._rule)
        low, high = equivalent_strengths(self._steps, strength, self._rule) if self._rule in BY_STRENGTH else (strength, strength)
        same = f"; {low:g} to {high:g} draw the same image" if low < high and count else ""
        self._hint.value = note(f"runs {count} of {self._steps} steps{same}")

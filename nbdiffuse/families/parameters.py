"""Parameters: what a field of a recipe may hold, declared once for every surface."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..images.latents import Latents
from ..images.mask_selection import checked, is_selection
from ..images.masks import as_mask
from ..images.picture import Picture


@dataclass(frozen=True)
class Param:
    """The one declaration of a recipe's field; every surface derives from it.

    Parameters
    ----------
    kind
        `float`, `int`, `bool`, `str` or `Picture`.
    help
        One line for people, without a full stop.
    low, high
        Closed interval of a number.
    step
        Step of a slider; also what an integer must be a multiple of when `multiple`.
    short
        Short option of the cell magic, such as `-s`.
    choices
        The only values allowed.
    advice
        A sentence that ends every error of a number, such as how to leave it open.
    usual
        What a slider spans, where that is less than [low, high]; other values are typed.
    mask
        Whether a picture says where another is redrawn, so that it is read by `masks.as_mask`.
    word
        What may stand in the place of a picture, such as "auto" for one that is made; more may stand behind a colon,
        as in "auto:canny".
    checked
        Gets the field's name and a text that has a form of its own; returns it as it is kept, or raises `ParameterError`.
    own_size
        Whether a picture is handed on in its own size, and not brought to the run's.
    written
        Writes a list or tuple as the text that `checked` gets, where one may be given.
    bars
        Whether a text may have commas, so that several stand between bars.
    label
        What people call it, where that is shorter than its name with blanks: a panel's control is called so.
    """

    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf
    step: float | None = None
    multiple: bool = False
    short: str | None = None
    choices: tuple[str, ...] | None = None
    unit: str = ""
    advice: str = ""
    usual: tuple[float, float] | None = None
    mask: bool = False
    word: str | None = None
    checked: Callable[[str, str], str] | None = None
    own_size: bool = False
    bars: bool = False
    label: str = ""
    written: Callable[[Sequence[Any]], str] | None = None

    @property
    def rule(self) -> str:
        """The rule in words, as errors and help state it."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is Picture:
            return "a picture"
        if self.kind is str:
            return "text"
        if self.kind is bool:
            return "true or false"
        noun = "a whole number" if self.kind is int else "a number"
        if self.multiple:
            noun = f"a multiple of {number_text(self.step or 1)}"
        unit = f" {self.unit}" if self.unit else ""
        if self.low == -math.inf:
            return f"{noun}{unit}"
        if self.high == math.inf:
            return f"{noun}{unit}, at least {number_text(self.low)}"
        return f"{noun}{unit} in [{number_text(self.low)}, {number_text(self.high)}]"

    def check(self, name: str, value: Any) -> Any:
        """Return `value` in its canonical type, or raise `ParameterError`."""
        if self.kind is Picture:
            return self._checked_word(name, value) if self.is_word(value) else self._check_picture(name, value)
        if self.kind is str:
            return self._check_text(name, value)
        if self.kind is bool:
            return self._check_switch(name, value)
        return self._check_number(name, value)

    def is_word(self, value: object) -> bool:
        """Tell whether something stands in the place of a picture, and names none."""
        named = isinstance(value, str) and self.word is not None and value.partition(":")[0] == self.word
        return named or (isinstance(value, str) and self.mask and is_selection(value))

    def _checked_word(self, name: str, value: str) -> str:
        return checked(name, value) if self.mask else value

    def _check_picture(self, name: str, value: Any) -> Picture | Latents:
        if isinstance(value, Latents) and not (self.mask or self.own_size):
            return value
        if isinstance(value, Latents):
            raise ParameterError(f"`{name}` must be a picture, got latents. Give the decoded picture: `result.image`.")
        picture = value if isinstance(value, Picture) else Picture.of(value)
        return as_mask(picture) if self.mask else picture

    def _check_text(self, name: str, value: Any) -> str:
        if self.written is not None and isinstance(value, (list, tuple)):
            value = self.written(value)
        if not isinstance(value, str):
            raise ParameterError(breaks_rule(name, self.rule, value))
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ParameterError(breaks_rule(name, "text in valid Unicode", value, "Remove the lone surrogate.")) from None
        if self.choices and value not in self.choices:
            raise ParameterError(breaks_rule(name, self.rule, value, did_you_mean(value, self.choices)))
        return self.checked(name, value) if self.checked else value

    def _check_switch(self, name: str, value: Any) -> bool:
        if type(value).__name__ not in ("bool", "bool_"):
            raise ParameterError(breaks_rule(name, self.rule, value))
        return bool(value)

    def _check_number(self, name: str, value: Any) -> float | int:
        wanted = numbers.Integral if self.kind is int else numbers.Real
        ok = isinstance(value, wanted) and not isinstance(value, bool) and type(value).__name__ != "bool_"
        if not ok or not self.low <= value <= self.high or not math.isfinite(value):
            raise ParameterError(breaks_rule(name, self.rule, value, self.advice))
        if self.multiple and self.step and value % self.step:
            nearest = max(self.low, round(value / self.step) * self.step)
            raise ParameterError(breaks_rule(name, self.rule, value, f"The nearest is {number_text(nearest)}."))
        return int(value) if self.kind is int else float(value) + 0.0


def number_text(value: float) -> str:
    """Write a number as short as it can be read back: 0.8, 7 and 0.24999999."""
    return repr(value).removesuffix(".0")


def declared(default: Any, param: Param) -> Any:
    """Declare a field of the recipe."""
    return field(default=default, metadata={"param": param})

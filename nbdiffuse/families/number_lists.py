"""Lists of numbers as one text, such as the timesteps of a schedule of one's own: "999,850,500,200"."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from ..errors import ParameterError, breaks_rule

LISTS = ("timesteps", "sigmas")
"""Arguments of diffusers' calls that get a list of numbers; a recipe holds each as one text."""
_RULE = {
    "timesteps": "whole numbers in [0, 999] that fall, such as 999,850,500,200",
    "sigmas": "numbers of at least 0 that fall, such as 14.6,6.5,2.7,1.4,0.65,0.03,0",
}


def text_of(numbers: Sequence[Any]) -> str:
    """Write numbers as one text."""
    return ",".join(repr(number).removesuffix(".0") for number in numbers)


def checked(name: str, text: str) -> str:
    """Return a list of numbers as it is kept, or raise `ParameterError`; `name` is one of `LISTS`."""
    words = [word for word in re.split(r"[\s,]+", text.strip().strip("[]()")) if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise ParameterError(breaks_rule(name, _RULE[name], text)) from None
    falls = all(first > second for first, second in itertools.pairwise(numbers))
    known = all(math.isfinite(number) and number >= 0 for number in numbers)
    whole = name != "timesteps" or all(number == int(number) <= 999 for number in numbers if math.isfinite(number))
    if not numbers or len(numbers) > 1000 or not (known and falls and whole):
        raise ParameterError(breaks_rule(name, _RULE[name], text))
    return text_of([int(number) if number == int(number) else number for number in numbers])


def checked_freeu(name: str, text: str) -> str:
    """Return FreeU's four factors as they are kept, or raise `ParameterError`."""
    words = [word for word in re.split(r"[\s,]+", text.strip().strip("[]()")) if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(0 <= number <= 10 for number in numbers):
        rule = "s1,s2,b1,b2 as diffusers has them, each in [0, 10], such as 0.9,0.2,1.5,1.6"
        raise ParameterError(breaks_rule(name, rule, text))
    return text_of(numbers)


def freeu_factors(text: str) -> dict[str, float]:
    """Return FreeU's factors under the names that diffusers' `enable_freeu` has for them."""
    return dict(zip(("s1", "s2", "b1", "b2"), map(float, text.split(",")), strict=True))


def called_value(name: str, value: Any) -> Any:
    """Return what a call gets for the value of a field: the list that a text stands for, any other value as it is."""
    if name not in LISTS or not isinstance(value, str):
        return value
    return [int(word) if name == "timesteps" else float(word) for word in value.split(",")]

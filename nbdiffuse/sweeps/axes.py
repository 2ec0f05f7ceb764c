"""Axes: one field and its values, given as values or as the text of one option."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..errors import ParameterError, Words, breaks_rule
from ..families.aliases import unknown_parameter
from ..families.parameters import number_text
from ..files.paths import last_part
from ..images.picture import Picture
from ..prompts.alternatives import MAX_VALUES, alternatives, expanded
from ..recipes.fields import first_name
from ..recipes.portable import WEIGHTS, portable
from ..recipes.recipe import PARAMS, Recipe

__all__ = ["MAX_VALUES", "Axis", "alternatives", "values_of"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_LONGEST_NUMBER = 40


def values_of(name: str, text: str) -> tuple[Any, ...]:
    """Read what was typed for a field: one value or several.

    Parameters
    ----------
    name
        Field of a recipe.
    text
        Numbers: `0.4,0.6`, ranges `first:last:step` with both ends (`0.2:1:0.2`,
        or down, `1:0.2:0.2`), whole ranges `1..4`, and any of these between commas.
        Prompts: `a|b`, with `{jungle|desert}` for a part; `\\|`, `\\{`, `\\}` and
        `\\\\` stand for themselves. Names and files: CSV, so that a name with a
        comma stands in double quotes.

    Returns
    -------
    tuple
        At least one checked value, as typed; pictures are still words.

    Raises
    ------
    ParameterError
        The field is unknown, or the text breaks its syntax or its field's rule.

    Examples
    --------
    >>> values_of("strength", "0.2:1:0.2")
    (0.2, 0.4, 0.6, 0.8, 1.0)
    """
    if name not in PARAMS:
        raise ParameterError(unknown_parameter(name, PARAMS))
    param = PARAMS[name]
    if param.kind is Picture:
        return _names(name, text)
    if param.kind is str:
        if param.bars:
            return tuple(param.check(name, value.strip()) for value in text.split("|"))
        texts = expanded(name, text, bars=True) if name in ("prompt", "negative_prompt") else _names(name, text)
        return tuple(param.check(name, value) for value in texts)
    if param.kind is bool:
        switches = {"true": True, "false": False}
        return tuple(param.check(name, switches.get(value.lower(), value)) for value in _names(name, text))
    return tuple(param.check(name, value) for value in _numbers(name, text))


def _numbers(name: str, text: str) -> tuple[float | int, ...]:
    found: list[float | int] = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            raise ParameterError(breaks_rule(name, "values between single commas", text, "Remove the extra comma."))
        found += _range(name, item) if ":" in item or ".." in item else [_number(name, item)]
        if len(found) > MAX_VALUES:
            raise ParameterError(breaks_rule(name, f"at most {MAX_VALUES} values", text, "Take a larger step."))
    return tuple(found)


def _number(name: str, text: str) -> float | int:
    """Read a number; whole numbers stay whole."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        way_out = "Write a list 0.4,0.6, a range 0.2:1:0.2, or 1..4." if text[:1].isdigit() else PARAMS[name].advice
        raise ParameterError(breaks_rule(name, PARAMS[name].rule, text, _from_percent(name, text) or way_out))
    return int(text) if _WHOLE.fullmatch(text) else float(text)


def _from_percent(name: str, text: str) -> str:
    """Say how a part in percent is written."""
    number = text.removesuffix("%").strip()
    if PARAMS[name].kind is int or number == text or len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(number):
        return ""
    return f"Write {number_text(float(Decimal(number) / 100))}."


def _range(name: str, item: str) -> list[float | int]:
    """Generate a range by index, in exact arithmetic: 0.2:1:0.2 holds the same 0.6 as a typed 0.6."""
    if ".." in item:
        ends, step = item.split(".."), "1"
        if len(ends) != 2 or not all(_WHOLE.fullmatch(end.strip()) for end in ends):
            rule = "a range of whole numbers first..last"
            raise ParameterError(breaks_rule(name, rule, item, "For others write first:last:step, such as 0.2:1:0.2."))
    else:
        *ends, step = item.split(":")
        if len(ends) != 2:
            raise ParameterError(breaks_rule(name, "a range first:last:step", item, "Write it like 0.2:1:0.2."))
    first, last = (_exact(name, end.strip(), checked=True) for end in ends)
    distance = _exact(name, step.strip(), checked=False)
    if distance <= 0:
        way_out = f"Write {ends[0]}:{ends[1]}:{step.strip().lstrip('+-')}: the ends say which way." if distance else ""
        raise ParameterError(breaks_rule(name, "a range with a step above 0", item, way_out))
    count = abs(last - first) / distance
    if count >= MAX_VALUES:
        raise ParameterError(breaks_rule(name, f"at most {MAX_VALUES} values", item, "Take a larger step."))
    signed = distance if last >= first else -distance
    if count.denominator != 1:
        reached = float(first + int(count) * signed)
        raise ParameterError(
            breaks_rule(name, "a range that meets its end", item, f"It comes to {number_text(reached)} and then passes it.")
        )
    exact = [first + index * signed for index in range(int(count) + 1)]
    return [int(value) if value.denominator == 1 else float(value) for value in exact]


def _exact(name: str, text: str, *, checked: bool) -> Fraction:
    value = _number(name, text)
    if checked and PARAMS[name].kind is float:
        PARAMS[name].check(name, value)
    # What a float cannot hold would take forever as a fraction.
    if not math.isfinite(value) or (value == 0 and re.search("[1-9]", text.lower().split("e")[0])):
        raise ParameterError(breaks_rule(name, PARAMS[name].rule, text))
    return Fraction(Decimal(text))


def _names(name: str, text: str) -> tuple[str, ...]:
    if "," not in text:
        return (text.strip(),)
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ParameterError(breaks_rule(name, "names between commas", text, f"As CSV: {error}.")) from None
    found = tuple(item.strip() for row in rows for item in row)
    if len(rows) != 1 or not all(found):
        raise ParameterError(breaks_rule(name, "names between single commas", text, "Remove the extra comma."))
    return found


@dataclass(frozen=True)
class Axis:
    """One field and the values it takes.

    Parameters
    ----------
    name
        Field of a recipe.
    values
        At least one, none twice; or their text, see `values_of`.

    Raises
    ------
    ParameterError, ImageInputError
        The field is unknown, or a value breaks its rule.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.name not in PARAMS:
            raise ParameterError(unknown_parameter(self.name, PARAMS))
        given: Any = values_of(self.name, self.values) if isinstance(self.values, str) else self.values
        if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping, set, frozenset)):
            way_out = "Put one value in the recipe, or give a list."
            raise ParameterError(breaks_rule(self.name, "a list of values", given, way_out))
        # An endless iterator is read no further than needed to refuse it.
        values = tuple(PARAMS[self.name].check(self.name, value) for value in itertools.islice(given, MAX_VALUES + 1))
        if len(values) > MAX_VALUES:
            raise ParameterError(breaks_rule(self.name, f"at most {MAX_VALUES} values", Words("more"), "Take some out."))
        if not values:
            raise ParameterError(breaks_rule(self.name, "at least one value", Words("none"), "Leave the axis out, or fill it."))
        seen: set[Any] = set()
        for value in values:
            if value in seen:
                raise ParameterError(breaks_rule(self.name, "values without repeats", value, "Take the second one out."))
            seen.add(value)
        object.__setattr__(self, "values", values)

    @property
    def labels(self) -> tuple[str, ...]:
        """A short text for each value; of prompts, the words in which they differ."""
        if PARAMS[self.name].kind is Picture:
            shown = (value if isinstance(value, str) else value.label for value in self.values)
            named = [(last_part(label), value) for label, value in zip(shown, self.values, strict=True)]
            return tuple(label or value.address[7:15] for label, value in named)
        if self.name in ("prompt", "negative_prompt"):
            return _differences(self.values)
        if first_name(self.name) in (*WEIGHTS, "model", "lora", "embedding"):
            name = first_name(self.name)
            return _numbered([str(portable(Recipe(**{name: value})).get(name)) for value in self.values])
        return tuple(number_text(value) if isinstance(value, float) else str(value) for value in self.values)

    def find(self, value: Any) -> Any:
        """Return the axis's own value that is meant: equal, or with this label.

        Raises
        ------
        ParameterError
            It is not on the axis.
        """
        if isinstance(value, str) and self.labels.count(value) == 1:
            return self.values[self.labels.index(value)]
        checked = PARAMS[self.name].check(self.name, value)
        for own in self.values:
            # numpy.linspace(0.2, 1, 5) holds 0.6000000000000001.
            if own == checked or (isinstance(own, float) and math.isclose(own, checked, rel_tol=1e-9)):
                return own
        raise ParameterError(breaks_rule(self.name, "on its axis, one of " + ", ".join(self.labels), value))


def _numbered(labels: Sequence[str]) -> tuple[str, ...]:
    """Tell equal labels apart: folders of one name in several places."""
    equal = {label for label in labels if labels.count(label) > 1}
    return tuple(
        f"{label} #{labels[: place + 1].count(label)}" if label in equal else label for place, label in enumerate(labels)
    )


def _differences(texts: Sequence[str]) -> tuple[str, ...]:
    words = [re.findall(r"\s+|[,;]|[^\s,;]+", text) for text in texts]
    if len(words) < 2:
        return tuple(texts)
    shortest = min(map(len, words))
    start = next((i for i in range(shortest) if len({word[i] for word in words}) > 1), shortest)
    end = next((i for i in range(shortest - start) if len({word[-1 - i] for word in words}) > 1), shortest - start)
    parts = ["".join(word[start : len(word) - end]).strip() for word in words]
    return tuple(part.strip(" ,;") or part or "(none)" for part in parts)

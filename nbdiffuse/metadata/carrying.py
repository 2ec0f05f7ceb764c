"""Carrying over: what another tool says, checked field by field, and what stays behind, in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.scheduler_names import sampler_of
from ..recipes.recipe import PARAMS
from .a1111 import Parsed, carried_lines

_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)


class Carriage:
    """Collect a recipe's fields out of another tool's entries.

    Parameters
    ----------
    values
        What is there already.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = dict(values or {})
        self._left: list[str] = []

    def take(self, field: str, value: Any, said_as: str) -> None:
        """Put a value into a field where it keeps the field's rule; leave it behind with the reason where not."""
        if value is None:
            return
        param = PARAMS[field]
        if param.kind in (int, float):
            value = _number(value, param.kind)
        try:
            self.values[field] = param.check(field, value)
        except ParameterError as error:
            self._left.append(f"Not carried over: {said_as}. {str(error)[:200]}")
        except (OverflowError, TypeError):
            self._left.append(f"Not carried over: {said_as}. {breaks_rule(field, param.rule, value)[:200]}")

    def take_sampler(self, name: Any, said_as: str = "sampler") -> None:
        """Put a sampler's name into `scheduler`; InvokeAI's `_k` and a1111's suffixes mean the Karras schedule."""
        if name is None:
            return
        sampler = sampler_of(str(name))
        if sampler is None or sampler.scheduler is None or set(sampler.settings) - {"use_karras_sigmas"}:
            self.leave(said_as, name, "no scheduler here does the same")
            return
        self.values["scheduler"] = sampler.scheduler
        if sampler.settings:
            self.leave(said_as, name, "its Karras schedule")

    def leave(self, key: str, value: Any, why: str = "") -> None:
        """Say that an entry stays behind."""
        reason = f", {why}" if why else ""
        self._left.append(f"Not carried over: {key[:60]}: {shown(value)}{reason}.")

    def leave_all(self, entries: Mapping[str, Any]) -> None:
        """Say of each entry that says something that it stays behind."""
        for key, value in entries.items():
            if value not in (None, "", [], {}, False):
                self.leave(str(key), value)

    def parsed(self, before: tuple[str, ...] = ()) -> Parsed:
        """Return what was collected."""
        return Parsed({"prompt": "", **self.values}, carried_lines([*before, *self._left]))


def shown(value: Any) -> str:
    """Write a value from outside for people: short, and with nothing that a terminal would obey."""
    return repr(value if isinstance(value, str) else _compact(value))[:80]


def _compact(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=True, default=str)[:200] if isinstance(value, (dict, list)) else value


def _number(value: Any, kind: type) -> Any:
    """Return what a tool wrote as a number or as text, as the kind that a field has; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    if kind is int and isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def loaded(text: str) -> Any:
    """Read JSON of another tool, or raise `ValueError`; NaN, which Python's reader takes, is refused by the fields' rules."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None

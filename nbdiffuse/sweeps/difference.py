"""Differences: which parameters of two cells of a sweep are not the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError, breaks_rule
from .cell import SweepCell
from .sweep import Sweep


def difference(sweep: Sweep, a: int | Mapping[str, Any], b: int | Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parameters in which two cells differ.

    Parameters
    ----------
    sweep
        Holds both.
    a, b
        Index of a cell, or its coordinates by axis.

    Returns
    -------
    dict
        (value in a, value in b) by field.

    Raises
    ------
    ParameterError
        Coordinates leave more than one cell.
    """
    one, other = (_cell(sweep, each).recipe for each in (a, b))
    names = dict.fromkeys([*one.values(), *other.values()])
    pairs = {name: (one.get(name), other.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _cell(sweep: Sweep, where: int | Mapping[str, Any]) -> SweepCell:
    if isinstance(where, int):
        return sweep.cells()[where]
    part = sweep.sel(**where)
    if part.axes:
        missing = ", ".join(axis.name for axis in part.axes)
        raise ParameterError(breaks_rule("cell", "one cell", dict(where), f"Give a value for {missing} too."))
    return part.cells()[0]

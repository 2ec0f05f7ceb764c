"""How the cells of a sweep lie in tables: one axis is a row, two a table, more are tables below one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ..images.sheets import SheetCell, Table
from .cell import SweepCell
from .sweep import Sweep

ROW = 8
"""Pictures in a row of a sweep along one axis."""


class Headed(Protocol):
    """An axis as a table shows it."""

    @property
    def name(self) -> str: ...
    @property
    def values(self) -> tuple[Any, ...]: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


class Placed(Protocol):
    """A cell of a sweep of recipes or of chains."""

    @property
    def coordinates(self) -> tuple[tuple[str, Any], ...]: ...


PlacedCell = TypeVar("PlacedCell", bound=Placed, covariant=True)


class Laid(Protocol[PlacedCell]):
    """A sweep of recipes or of chains."""

    @property
    def axes(self) -> Sequence[Headed]: ...
    def cells(self) -> tuple[PlacedCell, ...]: ...


def tables_of(sweep: Laid[PlacedCell], sheet_cell: Callable[[PlacedCell], SheetCell]) -> list[Table]:
    """Lay a sweep out.

    Parameters
    ----------
    sweep
        Its last axis runs along the rows, the one before down the rows.
    sheet_cell
        Returns what is seen of a cell.

    Returns
    -------
    list of Table
        At least one.
    """
    cells = tuple(map(sheet_cell, sweep.cells()))
    if not sweep.axes:
        return [Table(cells, columns=("",))]
    if len(sweep.axes) == 1:
        return _rows(sweep.axes[0], cells)
    *outer, down, across = sweep.axes
    size = len(down.values) * len(across.values)
    places = itertools.product(*([f"{axis.name} {label}" for label in axis.labels] for axis in outer))
    return [
        Table(cells[index * size : (index + 1) * size], across.labels, down.labels, across.name, down.name, ", ".join(place))
        for index, place in enumerate(places)
    ]


def _rows(axis: Headed, cells: tuple[SheetCell, ...]) -> list[Table]:
    rows = -(-len(cells) // ROW)
    # 9 pictures are 5 and 4, not 8 and 1.
    length = -(-len(cells) // rows)
    return [
        Table(cells[start : start + length], axis.labels[start : start + length], across="" if start else axis.name)
        for start in range(0, len(cells), length)
    ]


def coordinates_text(sweep: Laid[Placed], cell: Placed) -> str:
    """Say where a cell stands, such as "strength 0.4, seed 1"."""
    labels = [axis.labels[axis.values.index(value)] for axis, (_, value) in zip(sweep.axes, cell.coordinates, strict=True)]
    return ", ".join(f"{axis.name} {label}" for axis, label in zip(sweep.axes, labels, strict=True))


def differences_text(sweep: Sweep, cell: SweepCell, other: SweepCell) -> str:
    """Say where another cell stands, by the axes on which this one stands elsewhere."""
    found = []
    for axis, (_, here), (_, there) in zip(sweep.axes, cell.coordinates, other.coordinates, strict=True):
        if here != there:
            found.append(axis.labels[axis.values.index(there)])
    return ", ".join(found)

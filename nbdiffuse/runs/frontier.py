"""Frontiers: of a sweep's results those that no other one beats in two metrics at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..images.metrics import Metric
from ..images.picture_rows import rows_html
from ..images.scatter import WIDTH, Dot, scatter
from ..results import Result
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from ..sweeps.tables import coordinates_text

SHOWN = 4
"""Pictures that are shown beside the plot at the most."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """What a sweep's results are worth in two metrics, and which of them no other beats in both.

    Parameters
    ----------
    sweep
        What was run.
    across, up
        The metrics.
    values
        Both values by `SweepCell.picture_key`, of the finished cells.
    finished
        Results by `SweepCell.picture_key`.
    """

    sweep: Sweep
    across: Metric
    up: Metric
    values: Mapping[str, tuple[float, float]]
    finished: Mapping[str, Result]

    @property
    def cells(self) -> tuple[SweepCell, ...]:
        """The cells that no other beats, equal ones once, in the order of the first metric, the better end last."""
        best = [cell for cell in self._measured() if not any(self._beats(one, cell) for one in self._measured())]
        return tuple(sorted(best, key=lambda cell: self._signed(cell)[0]))

    @property
    def results(self) -> tuple[Result, ...]:
        """Their results, in that order."""
        return tuple(self.finished[cell.picture_key] for cell in self.cells)

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each measured cell: its coordinates, both values, and whether it is on the frontier."""
        best = {cell.picture_key for cell in self.cells}
        return [
            {
                **dict(cell.coordinates),
                **dict(zip((self.across.name, self.up.name), self.values[cell.picture_key], strict=True)),
                "frontier": cell.picture_key in best,
            }
            for cell in self._measured()
        ]

    def __repr__(self) -> str:
        # No numbers: notebooks then compare equal on every checkpoint.
        axes = " x ".join(axis.name for axis in self.sweep.axes) or "one cell"
        return f"frontier of {self.across.name} and {self.up.name}: {axes}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts: the plot, pictures of the frontier, and its numbers."""
        best = {cell.picture_key for cell in self.cells}
        dots = [
            Dot(*self.values[cell.picture_key], coordinates_text(self.sweep, cell), cell.picture_key in best)
            for cell in self._measured()
        ]
        names = [f"{one.name} ({'higher' if one.higher_is_better else 'lower'} is better)" for one in self._metrics]
        plot = scatter(dots, *names)
        told = f"plot of {len(dots)} results, {len(best)} of which no other beats in both {self.across.name} and {self.up.name}"
        shown = [
            (text, f"result at {text}", self.finished[cell.picture_key].image)
            for cell in _spread(self.cells, SHOWN)
            for text in [coordinates_text(self.sweep, cell)]
        ]
        rows = [(coordinates_text(self.sweep, cell), *self._said(cell)) for cell in self.cells]
        return rows_html([("", told, plot)], (), side=WIDTH) + rows_html(shown, rows)

    @property
    def _metrics(self) -> tuple[Metric, Metric]:
        return self.across, self.up

    def _measured(self) -> list[SweepCell]:
        return [group[0] for group in self.sweep.distinct() if group[0].picture_key in self.values]

    def _signed(self, cell: SweepCell) -> tuple[float, float]:
        """Return a cell's values, higher always better."""
        values = zip(self.values[cell.picture_key], self._metrics, strict=True)
        across, up = (value if metric.higher_is_better else -value for value, metric in values)
        return across, up

    def _beats(self, one: SweepCell, other: SweepCell) -> bool:
        first, second = self._signed(one), self._signed(other)
        return first != second and first[0] >= second[0] and first[1] >= second[1]

    def _said(self, cell: SweepCell) -> tuple[str, str]:
        values = zip(self._metrics, self.values[cell.picture_key], strict=True)
        across, up = (f"{metric.name} {value:.2f}" for metric, value in values)
        return across, up


def _spread(cells: Sequence[SweepCell], most: int) -> list[SweepCell]:
    """Return so many cells at most, evenly from the first to the last."""
    if len(cells) <= most:
        return list(cells)
    return [cells[round(place * (len(cells) - 1) / (most - 1))] for place in range(most)]

"""What is measured of a grid: numbers for its cells, the best one, a heat map, a frontier, a table."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ParameterError
from ..images.metrics import metric_of
from ..results import Result
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from .frontier import Frontier
from .grid_metrics import GridMetrics, checked
from .heatmaps import Heatmap
from .measuring import BY_CLIP
from .outcomes import FailedCell, Outcomes
from .records import frame, records

Self = TypeVar("Self", bound="MeasuredGrid")


class MeasuredGrid(ABC):
    """The part of a grid that measures its finished cells."""

    sweep: Sweep
    _outcomes: Outcomes
    _measures: GridMetrics

    @abstractmethod
    def _outcome(self, cell: SweepCell) -> Result | FailedCell | None:
        """Return what came of a cell so far."""

    def measure(self: Self, *metrics: str, scorer: str | None = None) -> Self:
        """Measure the finished cells and return this grid; `records` and `to_frame` then have the values.

        Parameters
        ----------
        *metrics
            Of `metrics.METRICS`: "ssim", "structure", "shift" and "drift" (which need the extra
            `metrics`), "lpips" (where that package is installed), "prompt_score", "kept",
            "identity", and "seam" (where there is a mask).
        scorer
            CLIP for "prompt_score" and "identity": an embedded name, a hub id or a directory; by default
            one that knows what the checkpoint draws.

        Raises
        ------
        ParameterError
            There is no such metric, or no initial picture to compare with.
        NbdiffuseError, CheckpointError
            A library or a model that judges is missing; the line says how to get it.
        """
        self.check(*metrics, scorer=scorer)
        for name in metrics:
            self._measures.of(name, self._finished(), scorer if name in BY_CLIP else None)
        return self

    def check(self, *metrics: str, scorer: str | None = None) -> None:
        """Say, before anything runs, why metrics cannot be measured; parameters and errors as for `measure`."""
        checked(metrics, self.sweep.cells(), scorer)

    def best(self, by: str | Callable[[Result], float], scorer: str | None = None) -> Result:
        """Return the best finished cell; of several equal ones, the first.

        Parameters
        ----------
        by
            A metric, see `measure`, or a function of a result whose largest value wins.
        scorer
            See `measure`.

        Raises
        ------
        ParameterError
            No cell is finished, `by` is neither, or its value is no number.
        """
        cell = self._measures.best(by, self._finished(), scorer)
        return dataclasses.replace(self._measures.finished([cell])[cell.picture_key], recipe=cell.recipe)

    def heatmap(self, metric: str, scorer: str | None = None) -> Heatmap:
        """Measure the finished cells and show the values beside the pictures; parameters and errors as for `measure`."""
        return Heatmap(self.sweep, self._outcomes, metric_of(metric), self._measures.of(metric, self._finished(), scorer))

    def frontier(self, across: str = "kept", up: str = "prompt_score", scorer: str | None = None) -> Frontier:
        """Measure the finished cells in two metrics and show which of them no other one beats in both.

        Parameters
        ----------
        across, up
            Metrics, see `measure`; how much is kept against how well the prompt is followed when not given.
        scorer
            See `measure`; it judges whichever of the two a scorer does.

        Raises
        ------
        ParameterError, NbdiffuseError, CheckpointError
            As for `measure`, or the two metrics are one.
        """
        if across == up:
            raise ParameterError(f"`up` must be another metric than `across`, got {up!r} for both.")
        cells = self._finished()
        self.check(across, up, scorer=scorer)
        first, second = (self._measures.of(name, cells, scorer if name in BY_CLIP else None) for name in (across, up))
        values = {key: (first[key], second[key]) for key in first}
        return Frontier(self.sweep, metric_of(across), metric_of(up), values, self._measures.finished(cells))

    def _finished(self) -> list[SweepCell]:
        finished = [cell for cell in self.sweep.cells() if isinstance(self._outcome(cell), Result)]
        if not finished:
            raise ParameterError("No cell of the grid is finished, so there is nothing to measure. Run it first: `grid.run()`.")
        return finished

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each cell, see `records.records`."""
        return records(self.sweep, self._outcomes, self._measures)

    def to_frame(self) -> Any:
        """Return `records` as a `pandas.DataFrame`; errors as for `records.frame`."""
        return frame(self.records())

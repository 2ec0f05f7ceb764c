"""What is known of a batch's results: numbers for each, a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from ..errors import ParameterError
from ..images.metrics import METRICS
from ..recipes.recipe import Recipe
from ..runs.records import frame
from .outcome import Outcome
from .row_metrics import RowMetrics
from .rows import Row

Self = TypeVar("Self", bound="MeasuredBatch")


class MeasuredBatch(ABC):
    """The part of a batch that measures its results."""

    recipe: Recipe
    rows: Sequence[Row]
    outcomes: dict[int, Outcome]
    _metrics: RowMetrics
    _is_film = False

    @abstractmethod
    def _save_page(self) -> None:
        """Write the page that shows all."""

    def measure(self: Self, *metrics: str, scorer: str | None = None) -> Self:
        """Measure the results that are there and return this batch; `records`, `to_frame` and the page then have the values.

        Parameters
        ----------
        *metrics
            Of `metrics.METRICS`, as for `Grid.measure`; "flicker" of films.
        scorer
            CLIP for "prompt_score" and "identity", see `Grid.measure`.

        Raises
        ------
        ParameterError
            There is no such metric, no initial picture to compare with, or no result.
        NbdiffuseError
            A library is missing; the line says how to get it.
        """
        names = self._metrics.check(metrics, self._is_film, scorer)
        if not self._there():
            raise ParameterError("No row of the batch is finished, so there is nothing to measure. Run it first: `batch.run()`.")
        self._measure(names, scorer)
        self._save_page()
        return self

    def _measure(self, names: Sequence[str], scorer: str | None = None) -> None:
        self._metrics.measure(names, self._there(), scorer)

    def _there(self) -> list[int]:
        return [place for place, outcome in sorted(self.outcomes.items()) if outcome.state != "failed"]

    def records(self) -> list[dict[str, Any]]:
        """Return a row of a table for each result: its name, file, state, seconds, size, steps, error, prompt, own values,
        and what was measured."""
        return [self._record(place, row) for place, row in enumerate(self.rows)]

    def _record(self, place: int, row: Row) -> dict[str, Any]:
        outcome = self.outcomes.get(place, Outcome("missing"))
        known = {name: getattr(outcome, name) for name in ("state", "seconds", "size", "steps")}
        known["error"] = None if outcome.error is None else str(outcome.error)
        prompt = outcome.prompt or row.template(self.recipe)
        return {"name": row.name, "file": row.file, **known, **row.values, "prompt": prompt, **self._columns(place)}

    def _columns(self, place: int) -> dict[str, float | None]:
        """Return what was measured of a row, with None where only others were."""
        names = {name for values in self._metrics.values.values() for name in values}
        ordered = [*(name for name in METRICS if name in names), *sorted(names - set(METRICS))]
        return {name: self._metrics.values.get(place, {}).get(name) for name in ordered}

    def to_frame(self) -> Any:
        """Return `records` as a `pandas.DataFrame`."""
        return frame(self.records())

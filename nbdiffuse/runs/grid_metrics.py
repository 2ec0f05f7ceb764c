"""Grid metrics: the metrics of a sweep's finished cells, each measured once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from numbers import Real

from ..errors import ParameterError, breaks_rule
from ..images.metrics import METRICS, Metric, metric_of
from ..recipes.steps import start_noise
from ..results import Result
from ..sweeps.cell import SweepCell
from .measuring import BY_CLIP, measured
from .outcomes import Outcomes


class GridMetrics:
    """Measure the pictures that `Outcomes` hold.

    Parameters
    ----------
    outcomes
        Its session runs the models that judge.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._known: dict[tuple[str, str | None], dict[str, float]] = {}

    def of(self, name: str, cells: Sequence[SweepCell], scorer: str | None = None) -> dict[str, float]:
        """Measure what is finished.

        Parameters
        ----------
        name
            One of `metrics.METRICS`.
        cells
            Those that are not finished are left out.
        scorer
            For "prompt_score" and "identity" another CLIP than the usual one, see `scorers.prompt_scores`.

        Returns
        -------
        dict
            Value by `SweepCell.picture_key`.

        Raises
        ------
        ParameterError
            There is no such metric, or no initial picture to compare with.
        NbdiffuseError, CheckpointError
            A library or a model that judges is missing.
        """
        (metric,) = checked([name], cells, scorer)
        finished, known = self.finished(cells), self._known.get((name, scorer), {})
        new = {key: result for key, result in finished.items() if key not in known}
        if new:
            known = {**known, **dict(zip(new, measured(metric, list(new.values()), self._outcomes.session, scorer), strict=True))}
            self._known[name, scorer] = known
        return {key: known[key] for key in finished}

    def best(self, by: str | Callable[[Result], float], cells: Sequence[SweepCell], scorer: str | None = None) -> SweepCell:
        """Return the best of finished cells, of several equal ones the first; see `Grid.best`."""
        if isinstance(by, str):
            values, metric = self.of(by, cells, scorer), metric_of(by)
            sign = 1 if metric.higher_is_better else -1
            return max(cells, key=lambda cell: sign * values[cell.picture_key])
        if not callable(by):
            raise ParameterError(breaks_rule("by", "the name of a metric, or a function of a result", by))
        held = self.finished(cells)
        numbers = [by(dataclasses.replace(held[cell.picture_key], recipe=cell.recipe)) for cell in cells]
        for number in numbers:
            if not isinstance(number, Real) or not math.isfinite(number):
                raise ParameterError(breaks_rule("by", "a function that returns numbers", number))
        return cells[numbers.index(max(numbers))]

    def columns(self, cell: SweepCell) -> dict[str, float | None]:
        """Return what was measured of a cell so far, by metric; with several scorers, the last one's."""
        found: dict[str, float | None] = {}
        for (name, _), values in self._known.items():
            found[name] = values.get(cell.picture_key, found.get(name))
        return {name: found[name] for name in METRICS if name in found}

    def finished(self, cells: Sequence[SweepCell]) -> dict[str, Result]:
        """Return the results that are there, by `SweepCell.picture_key`."""
        outcomes = {cell.picture_key: self._outcomes.outcomes.get(cell.picture_key) for cell in cells}
        return {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Result)}


def checked(names: Sequence[str], cells: Sequence[SweepCell], scorer: str | None = None) -> list[Metric]:
    """Return metrics by name, or say before anything runs why they cannot be measured; errors as for `GridMetrics.of`."""
    found = list(map(metric_of, names))
    if scorer is not None and not BY_CLIP & set(names):
        raise ParameterError(f"`scorer` must go with prompt_score or identity, got {', '.join(names)}. Leave it out.")
    for metric in found:
        if metric.needs_initial and any(cell.recipe.image is None for cell in cells):
            raise ParameterError(f"`{metric.name}` needs an initial picture to compare with. Measure `prompt_score`.")
        if metric.needs_film:
            raise ParameterError(
                f"`{metric.name}` needs the frames of a film, and a grid has none. Measure it where a film is made."
            )
        if metric.needs_mask and any(cell.recipe.mask is None for cell in cells):
            raise ParameterError(f"`{metric.name}` needs a mask whose border it looks at. Measure `prompt_score`.")
        if metric.name == "noise_share" and any(start_noise(cell.recipe) is None for cell in cells):
            raise ParameterError(
                "`noise_share` is not known where there is no strength, or where the scheduler has another kind of schedule."
            )
        metric.require()
    return found

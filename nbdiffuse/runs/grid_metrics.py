"""Grid metrics: the metrics of a sweep's finished cells, each measured once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import ParameterError, breaks_rule
from ..images import fidelity, metrics
from ..images.metrics import METRICS, Metric, metric_of
from ..recipes.comparison import own_mask
from ..recipes.sizes import fitted_picture
from ..recipes.steps import start_noise
from ..results import Result
from ..sweeps.cell import SweepCell
from .outcomes import Outcomes

if TYPE_CHECKING:
    from ..pipelines.pipelines import Pipelines


BY_CLIP = frozenset({"prompt_score", "identity"})
"""Metrics that a scorer judges."""


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
            known = {**known, **dict(zip(new, self._measured(metric, list(new.values()), scorer), strict=True))}
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

    def _measured(self, metric: Metric, results: Sequence[Result], scorer: str | None) -> list[float]:
        if metric.name == "prompt_score":
            return self._prompt_scores(results, scorer)
        if metric.name == "noise_share":
            return [result.noise_share or 0.0 for result in results]
        if metric.name == "identity":
            return self._identities(results, scorer)
        if metric.name in fidelity.MEASURES:
            measure = fidelity.MEASURES[metric.name]
            return [measure(*_pair(result), own_mask(result.recipe)) for result in results]
        if metric.needs_mask:
            return [metrics.seam(result.image, fitted_picture(result.recipe, "mask_image")) for result in results]
        pairs = [_pair(result) for result in results]
        if metric.name == "lpips":
            return self._outcomes.session.with_pipelines(lambda pipelines: _lpips(pairs, pipelines))
        compare = {"ssim": metrics.ssim, "structure": metrics.structure}[metric.name]
        return [compare(initial, image) for initial, image in pairs]

    def _prompt_scores(self, results: Sequence[Result], scorer: str | None) -> list[float]:
        def score(word: str, some: Sequence[Result], device: Any) -> list[float]:
            from ..pipelines import scorers

            return scorers.prompt_scores(word, [(result.recipe.prompt, result.image) for result in some], device)

        return self._by_clip(score, results, scorer)

    def _identities(self, results: Sequence[Result], scorer: str | None) -> list[float]:
        def score(word: str, some: Sequence[Result], device: Any) -> list[float]:
            from ..pipelines import scorers

            return scorers.identities(word, list(map(_pair, some)), device)

        return self._by_clip(score, results, scorer)

    def _by_clip(
        self, score: Callable[[str, Sequence[Result], Any], list[float]], results: Sequence[Result], scorer: str | None
    ) -> list[float]:
        """Judge results by one CLIP, or each by the one that knows what its checkpoint draws."""

        def work(pipelines: Pipelines) -> list[float]:
            from ..pipelines import scorers

            words = [scorer or scorers.scorer_for(str(result.recipe.checkpoint)) for result in results]
            values: dict[int, float] = {}
            for word in dict.fromkeys(words):
                places = [place for place, each in enumerate(words) if each == word]
                values.update(zip(places, score(word, [results[place] for place in places], pipelines.device), strict=True))
            return [values[place] for place in range(len(results))]

        return self._outcomes.session.with_pipelines(work)


def checked(names: Sequence[str], cells: Sequence[SweepCell], scorer: str | None = None) -> list[Metric]:
    """Return metrics by name, or say before anything runs why they cannot be measured; errors as for `GridMetrics.of`."""
    found = list(map(metric_of, names))
    if scorer is not None and not BY_CLIP & set(names):
        raise ParameterError(f"`scorer` must go with prompt_score or identity, got {', '.join(names)}. Leave it out.")
    for metric in found:
        if metric.needs_initial and any(cell.recipe.image is None for cell in cells):
            raise ParameterError(f"`{metric.name}` needs an initial picture to compare with. Measure `prompt_score`.")
        if metric.needs_mask and any(cell.recipe.mask is None for cell in cells):
            raise ParameterError(f"`{metric.name}` needs a mask whose border it looks at. Measure `prompt_score`.")
        if metric.name == "noise_share" and any(start_noise(cell.recipe) is None for cell in cells):
            raise ParameterError(
                "`noise_share` is not known where there is no strength, or where the scheduler has another kind of schedule."
            )
        metric.require()
    return found


def _lpips(pairs: Sequence[tuple[Image.Image, Image.Image]], pipelines: Pipelines) -> list[float]:
    from ..pipelines import scorers

    return scorers.lpips_distances(pairs, pipelines.device)


def _pair(result: Result) -> tuple[Image.Image, Image.Image]:
    """Return the initial picture, in the size of the result, and the result; RGB."""
    initial = result.initial
    if initial is None:
        raise ParameterError("A cell has no initial picture to compare with. Measure `prompt_score`.")
    if initial.size != result.image.size:
        initial = initial.resize(result.image.size, Image.Resampling.BICUBIC)
    return initial.convert("RGB"), result.image

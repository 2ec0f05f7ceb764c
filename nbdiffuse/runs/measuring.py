"""Measuring: the metrics of results, in the order in which they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from ..errors import ParameterError
from ..images import fidelity, metrics
from ..images.metrics import Metric
from ..recipes.comparison import own_mask
from ..recipes.recipe import Recipe
from ..recipes.sizes import fitted_picture
from ..recipes.steps import start_noise
from ..sessions.session import Session

if TYPE_CHECKING:
    from ..pipelines.pipelines import Pipelines

BY_CLIP = frozenset({"prompt_score", "identity"})
"""Metrics that a scorer judges."""


class Measured(Protocol):
    """What can be measured: a `Result`, or what a file has of one."""

    @property
    def recipe(self) -> Recipe:
        """Complete."""

    @property
    def image(self) -> Image.Image:
        """RGB."""

    @property
    def initial(self) -> Image.Image | None:
        """What it was made from, as its run saw it, RGB; None where it was made from text alone."""


def measured(metric: Metric, results: Sequence[Measured], session: Session, scorer: str | None = None) -> list[float]:
    """Measure results.

    Parameters
    ----------
    metric
        Not one of films.
    results
        In any order.
    session
        Runs the models that judge.
    scorer
        For "prompt_score" and "identity" another CLIP than the usual one, see `scorers.prompt_scores`.

    Returns
    -------
    A number for each result.

    Raises
    ------
    ParameterError
        A result has no initial picture to compare with.
    NbdiffuseError, CheckpointError
        A library or a model that judges is missing.
    """
    if metric.name == "prompt_score":
        return _prompt_scores(results, session, scorer)
    if metric.name == "noise_share":
        return [start_noise(result.recipe) or 0.0 for result in results]
    if metric.name == "identity":
        return _identities(results, session, scorer)
    if metric.name in fidelity.MEASURES:
        measure = fidelity.MEASURES[metric.name]
        return [measure(*_pair(result), own_mask(result.recipe)) for result in results]
    if metric.needs_mask:
        return [metrics.seam(result.image, fitted_picture(result.recipe, "mask_image")) for result in results]
    pairs = [_pair(result) for result in results]
    if metric.name == "lpips":
        return session.with_pipelines(lambda pipelines: _lpips(pairs, pipelines))
    compare = {"ssim": metrics.ssim, "structure": metrics.structure}[metric.name]
    return [compare(initial, image) for initial, image in pairs]


def _prompt_scores(results: Sequence[Measured], session: Session, scorer: str | None) -> list[float]:
    def score(word: str, some: Sequence[Measured], device: Any) -> list[float]:
        from ..pipelines import scorers

        return scorers.prompt_scores(word, [(result.recipe.prompt, result.image) for result in some], device)

    return _by_clip(score, results, session, scorer)


def _identities(results: Sequence[Measured], session: Session, scorer: str | None) -> list[float]:
    def score(word: str, some: Sequence[Measured], device: Any) -> list[float]:
        from ..pipelines import scorers

        return scorers.identities(word, list(map(_pair, some)), device)

    return _by_clip(score, results, session, scorer)


def _by_clip(
    score: Callable[[str, Sequence[Measured], Any], list[float]],
    results: Sequence[Measured],
    session: Session,
    scorer: str | None,
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

    return session.with_pipelines(work)


def _lpips(pairs: Sequence[tuple[Image.Image, Image.Image]], pipelines: Pipelines) -> list[float]:
    from ..pipelines import scorers

    return scorers.lpips_distances(pairs, pipelines.device)


def _pair(result: Measured) -> tuple[Image.Image, Image.Image]:
    """Return the initial picture, in the size of the result, and the result; RGB."""
    initial = result.initial
    if initial is None:
        raise ParameterError("A cell has no initial picture to compare with. Measure `prompt_score`.")
    if initial.size != result.image.size:
        initial = initial.resize(result.image.size, Image.Resampling.BICUBIC)
    return initial.convert("RGB"), result.image

"""Row metrics: the metrics of a batch's results, which are read from their files a few at a time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..images.metrics import METRICS, Metric, metric_of
from ..images.picture import Picture
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.sizes import fitted_pictures
from ..recipes.steps import start_noise
from ..runs.measuring import BY_CLIP, measured
from ..sessions.session import Session
from .rows import Row

AT_ONCE = 32
"""Results that are read and measured together, at most."""


@dataclass(frozen=True)
class MeasuredRow:
    """A row's result as it is measured; see `measuring.Measured`."""

    recipe: Recipe
    image: Image.Image
    initial: Image.Image | None


class RowMetrics:
    """Measure the results of a batch, each once.

    Parameters
    ----------
    recipe, rows, folder
        Of the batch.
    session
        Runs the models that judge.
    """

    def __init__(self, recipe: Recipe, rows: Sequence[Row], folder: Path, session: Session) -> None:
        self._recipe, self._rows, self._folder, self._session = recipe, rows, folder, session
        self.values: dict[int, dict[str, float]] = {}
        self.failures: dict[str, str] = {}

    def check(self, names: Sequence[str], film: bool = False, scorer: str | None = None) -> tuple[str, ...]:
        """Return metrics by name, or say before anything runs why they cannot be measured.

        Parameters
        ----------
        names
            Of `metrics.METRICS`.
        film
            Whether the results become a film.
        scorer
            See `measure`.

        Raises
        ------
        ParameterError
            There is no such metric, or what it compares with is missing.
        NbdiffuseError
            A library is missing.
        """
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ParameterError(breaks_rule("measure", 'names of metrics, such as ["kept", "shift"]', names))
        if scorer is not None and not BY_CLIP & set(names):
            raise ParameterError(f"`scorer` must go with prompt_score or identity, got {', '.join(names)}. Leave it out.")
        for metric in map(metric_of, names):
            self._check(metric, film)
            metric.require()
        return tuple(dict.fromkeys(names))

    def _check(self, metric: Metric, film: bool) -> None:
        if metric.needs_film and not film:
            way_out = "Name a film as what is made, such as clip.mp4."
            raise ParameterError(f"`{metric.name}` needs the frames of a film, and these are single pictures. {way_out}")
        if metric.needs_initial and any(row.source is None for row in self._rows):
            raise ParameterError(f"`{metric.name}` needs an initial picture to compare with. Measure `prompt_score`.")
        if metric.needs_mask and self._recipe.mask is None and any("mask_image" not in row.values for row in self._rows):
            raise ParameterError(f"`{metric.name}` needs a mask whose border it looks at. Measure `prompt_score`.")

    def measure(self, names: Sequence[str], places: Iterable[int], scorer: str | None = None) -> None:
        """Measure what is not measured yet; a result that cannot be read is left out, a metric that fails is noted.

        Parameters
        ----------
        names
            From `check`; those of films are left to the film.
        places
            Of results that are there.
        scorer
            For "prompt_score" and "identity" another CLIP than the usual one: these are then measured again.
        """
        wanted = [metric for metric in map(metric_of, names) if not metric.needs_film]
        again = {metric.name for metric in wanted if scorer is not None and metric.name in BY_CLIP}
        left = [place for place in places if any(one.name not in self.values.get(place, {}) or again for one in wanted)]
        for start in range(0, len(left), AT_ONCE):
            read = {place: row for place in left[start : start + AT_ONCE] if (row := self._read(place)) is not None}
            for metric in wanted:
                missing = [place for place in read if metric.name in again or metric.name not in self.values.get(place, {})]
                self._measure(metric, {place: read[place] for place in missing}, scorer if metric.name in again else None)

    def _measure(self, metric: Metric, rows: dict[int, MeasuredRow], scorer: str | None) -> None:
        if metric.name == "noise_share":
            rows = {place: row for place, row in rows.items() if start_noise(row.recipe) is not None}
        if not rows:
            return
        try:
            found = measured(metric, list(rows.values()), self._session, scorer)
        except (Interrupted, KeyboardInterrupt):
            raise
        except NbdiffuseError as error:  # the pictures are made, whatever becomes of their numbers
            self.failures[metric.name] = f"`{metric.name}` was not measured: {error}"
            return
        self.failures.pop(metric.name, None)
        for place, value in zip(rows, found, strict=True):
            self.note(place, metric.name, value)

    def note(self, place: int, name: str, value: float) -> None:
        """Take note of a value."""
        self.values.setdefault(place, {})[name] = value

    def _read(self, place: int) -> MeasuredRow | None:
        row = self._rows[place]
        try:
            complete = resolve(row.recipe(self._recipe))
            image = Picture.of(self._folder / row.file).image
        except (Interrupted, KeyboardInterrupt):
            raise
        except NbdiffuseError:  # it was moved meanwhile
            return None
        return MeasuredRow(complete, image.convert("RGB"), fitted_pictures(complete).get("image"))

    def lines(self) -> list[str]:
        """Say of each metric its mean, and the result that is furthest from good."""
        names = dict.fromkeys(name for values in self.values.values() for name in values)
        return [
            *(self._line(metric_of(name)) for name in names if name in METRICS and not metric_of(name).needs_film),
            *self.failures.values(),
        ]

    def _line(self, metric: Metric) -> str:
        known = {place: values[metric.name] for place, values in sorted(self.values.items()) if metric.name in values}
        mean, end = statistics.mean(known.values()), "lowest" if metric.higher_is_better else "highest"
        worst = (min if metric.higher_is_better else max)(known, key=lambda place: known[place])
        return f"{metric.name}: {mean:.2f} on average, {end} {known[worst]:.2f} ({self._rows[worst].name})"

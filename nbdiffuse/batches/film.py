"""Film batch: the frames of a film redrawn one by one, and a film made of them at the source's times, with its sound."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ImageInputError, ParameterError, breaks_rule
from ..files.targets import check_file
from ..recipes.recipe import Recipe
from .batch import Batch
from .film_writer import ANIMATED, WRITTEN, write_film
from .films import FrameSource
from .flicker import Flicker, changes, mean_of
from .rows import Row

RATE = 24
"""Frames a second of a film that is made from pictures, where nobody says it."""
MAX_RATE = 240
SHOWN = 4_000_000
"""Bytes of a film that a cell shows itself, at most."""


class FilmBatch(Batch):
    """A batch whose results become a film when all of them are there; parameters and errors as for `Batch`.

    Parameters
    ----------
    film
        File that is written; ends in one of `film_writer.WRITTEN`.
    rate
        Frames a second, in (0, 240], where the pictures are no film's; a film's times are kept.
    """

    _is_film = True

    def __init__(
        self, recipe: Recipe, rows: Sequence[Row], folder: Path, *, film: Path, rate: float | None = None, **how: Any
    ) -> None:
        self.film = check_file(film, WRITTEN, "film")
        sources = [row.source for row in rows]
        self._source = next((source.film for source in sources if isinstance(source, FrameSource)), None)
        if rate is not None and self._source is not None:
            raise ParameterError(breaks_rule("rate", "left out for a film, whose own is kept", rate))
        if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate <= MAX_RATE):
            raise ParameterError(breaks_rule("rate", f"a number in (0, {MAX_RATE}]", rate))
        if self._source is not None and len(rows) != len(self._source.chosen):
            rule = "of one result for each frame"
            raise ParameterError(
                breaks_rule("film", rule, f"{len(rows)} results", "Give one value of each field and one prompt.")
            )
        self._rate = Fraction(RATE if rate is None else rate).limit_denominator(1001)
        self._of_film: list[str] = []
        self._flicker_line = ""
        super().__init__(recipe, rows, folder, **how)

    @property
    def notices(self) -> tuple[str, ...]:
        """Those of the batch, and what a person should know of the film."""
        return (*super().notices, *self._of_film, *filter(None, [self._flicker_line]))

    def run(self, while_waiting: Callable[[], None] | None = None) -> FilmBatch:
        """Run what is missing, write the film, and return this batch; errors as for `Batch.run`.

        A frame that failed is shown as the one before it.
        """
        super().run(while_waiting)
        files: list[Path] = []
        held = 0
        for place, row in enumerate(self.rows):
            failed = self.outcomes[place].state == "failed"
            if failed and files:
                files.append(files[-1])
            elif not failed:
                # What failed before the first one is shown as that one.
                files += [self.folder / row.file] * (place + 1 - len(files))
            held += failed
        if not files:
            return self
        self._of_film = [f"{held} frames failed and are shown as those beside them."] if held else []
        begins, seconds = self._times()
        self._of_film += write_film(self.film, files, begins, seconds, self._source)
        return self

    def _times(self) -> tuple[list[Fraction], Fraction]:
        if self._source is None:
            return [number / self._rate for number in range(len(self.rows))], len(self.rows) / self._rate
        first, last = self._source.span
        return self._source.begins, last - first

    @property
    def flicker(self) -> Flicker:
        """How much neighbouring frames differ, beside the source's own; the frames are read for it.

        Raises
        ------
        ParameterError
            Fewer than two frames are there.
        """
        if len(self.rows) - self.missing < 2:
            raise ParameterError("`flicker` needs two frames that are there. Run the film first.")
        return mean_of(list(changes(pair for _, pair in self._pairs())))

    def _measure(self, names: Sequence[str], scorer: str | None = None) -> None:
        super()._measure(names, scorer)
        if "flicker" not in names or len(self._there()) < 2:
            return
        places: list[int] = []

        def pairs() -> Iterator[tuple[Image.Image, Image.Image]]:
            for place, pair in self._pairs():
                places.append(place)
                yield pair

        found = list(changes(pairs()))
        for place, (result, source) in zip(places[1:], found, strict=True):
            self._metrics.note(place, "flicker", result)
            self._metrics.note(place, "source_flicker", source)
        self._flicker_line = str(mean_of(found))

    def _pairs(self) -> Iterator[tuple[int, tuple[Image.Image, Image.Image]]]:
        for place in self._there():
            row = self.rows[place]
            if row.source is None:
                continue
            try:
                with Image.open(self.folder / row.file, formats=("PNG",)) as opened:
                    made = opened.convert("RGB")
                yield place, (made, row.source.read().image)
            except (OSError, ImageInputError):  # it was moved meanwhile
                continue

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices: the film itself where it is small."""
        shown = super().bundle()
        try:
            small = not self.missing and self.film.stat().st_size <= SHOWN
            data = base64.b64encode(self.film.read_bytes()).decode() if small else ""
        except OSError:
            data = ""
        kind = self.film.suffix.lower()[1:]
        if data and f".{kind}" in ANIMATED:
            shown["text/html"] = f'<img src="data:image/{kind};base64,{data}" alt="the film">'
        elif data:
            kind = "webm" if kind == "webm" else "mp4"
            shown["text/html"] = f'<video controls loop src="data:video/{kind};base64,{data}"></video>'
        return shown

    def __repr__(self) -> str:
        return f"film: {len(self)} frames"

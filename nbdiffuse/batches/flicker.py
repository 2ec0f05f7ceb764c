"""Flicker: how much more the frames of a film change from one to the next than those that they were made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Flicker:
    """How much neighbouring frames differ.

    Parameters
    ----------
    result, source
        Mean absolute difference of neighbours, of 255, over all pixels and colours; of the film and of its source.
    """

    result: float
    source: float

    @property
    def ratio(self) -> float:
        """The film's difference as a multiple of its source's: 1 is as steady as that, above it flickers."""
        if self.source == 0:
            return 1.0 if self.result == 0 else math.inf
        return self.result / self.source

    def __str__(self) -> str:
        return (
            f"flicker {self.ratio:.2f}: neighbouring frames differ by {self.result:.1f} of 255, the source's by {self.source:.1f}"
        )


def flicker(pairs: Iterable[tuple[Image.Image, Image.Image]]) -> Flicker:
    """Measure it.

    Parameters
    ----------
    pairs
        Each frame of a film, RGB, and the one that it was made from, which is brought to its size.

    Returns
    -------
    Flicker
        0 and 0 where there are fewer than two frames.
    """
    return mean_of(list(changes(pairs)))


def mean_of(found: Sequence[tuple[float, float]]) -> Flicker:
    """Return the flicker of neighbours that differ so much, see `changes`."""
    if not found:
        return Flicker(0.0, 0.0)
    result, source = np.mean(found, axis=0)
    return Flicker(float(result), float(source))


def changes(pairs: Iterable[tuple[Image.Image, Image.Image]]) -> Iterator[tuple[float, float]]:
    """Yield for each frame but the first how much it and its source differ from those before; parameters as for `flicker`."""
    before: tuple[np.ndarray, np.ndarray] | None = None
    for made, given in pairs:
        fitted = given if given.size == made.size else given.resize(made.size, Image.Resampling.LANCZOS)
        now = np.asarray(made.convert("RGB"), np.float32), np.asarray(fitted.convert("RGB"), np.float32)
        if before is not None and before[0].shape == now[0].shape:
            yield float(np.abs(now[0] - before[0]).mean()), float(np.abs(now[1] - before[1]).mean())
        before = now

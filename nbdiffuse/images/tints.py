"""Tints: the colours of all of a picture off by the same, found although parts of it are another thing."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Array: TypeAlias = np.ndarray[Any, Any]
NEAR = 8
"""Difference of a channel, of 255, up to which a pixel counts as explained."""
LEAST, GAIN = 0.4, 0.02
"""Share of the pixels that a tint has to explain to be one, and how many more than are explained without it."""
_SIDE = 200
"""Pixels along a side that are looked at, about."""
_BIN, _STARTS = 10, 4
_ROUNDS, _WIDEST, _NARROWEST = 8, 24.0, 5.0
_SCALES = 0.67, 1.5


def tinted(initial: Image.Image, image: Image.Image) -> Image.Image:
    """Return the initial picture in the tint that the other one has.

    Parameters
    ----------
    initial, image
        RGB, of one size.

    Returns
    -------
    RGB: each channel times a number plus a number, which explain most of the other picture's pixels; the initial picture
    itself where none do, as where all of it was drawn anew.

    Notes
    -----
    What was edited must not pull: from the most frequent differences of colour on, pixels that are further off count less
    and less. Source: Holland and Welsch, Robust regression using iteratively reweighted least-squares, 1977.
    """
    step = max(2, round(math.sqrt(image.width * image.height) / _SIDE))
    before, after = (np.asarray(one, np.float64)[::step, ::step].reshape(-1, 3) for one in (initial, image))
    # What is cut off at black or white says nothing.
    told = np.asarray(((after > 3) & (after < 252)).all(-1))
    if told.mean() < 0.02:
        return initial
    bins = ((after - before)[told] / _BIN).round().astype(int) + 32
    often = np.bincount(bins @ np.array([64 * 64, 64, 1]), minlength=64**3).argsort()[::-1][:_STARTS]
    plainly, best = _explained(before, after), None
    most = plainly + GAIN
    for place in often:
        offset = (np.array(np.unravel_index(place, (64, 64, 64))) - 32.0) * _BIN
        line = _line(before, after, told.astype(np.float64), offset)
        explained = _explained(_through(before, line), after)
        if explained > max(most, LEAST):
            most, best = explained, line
    if best is None:
        return initial
    return Image.fromarray(_through(np.asarray(initial, np.float64), best).round().astype(np.uint8))


def _explained(before: Array, after: Array) -> float:
    return float((np.abs(after - before).max(-1) < NEAR).mean())


def _through(values: Array, line: Array) -> Array:
    made: Array = (values * line[0] + line[1]).clip(0, 255)
    return made


def _line(before: Array, after: Array, told: Array, offset: Array) -> Array:
    """Return scales and offsets of the channels, (2, 3), from a first guess of the offsets on."""
    scale = np.ones(3)
    for step in range(_ROUNDS):
        apart = np.abs(after - (before * scale + offset)).max(-1)
        weights = told / (1 + (apart / max(_NARROWEST, _WIDEST * 0.7**step)) ** 4) + 1e-9
        middle, target = (np.average(one, axis=0, weights=weights) for one in (before, after))
        spread = np.average((before - middle) ** 2, axis=0, weights=weights)
        together = np.average((before - middle) * (after - target), axis=0, weights=weights)
        # Without contrast there is nothing to scale.
        scale = ((together + 20) / (spread + 20)).clip(*_SCALES)
        offset = target - scale * middle
    return np.stack([scale, offset])

"""Sequence: rows in the order of a film's frames, each with what it has of the one before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from .following import Following
from .rows import Row


def following(base: Recipe, rows: Sequence[Row], folder: Path, carry: Any, seed_every: Any, noise_walk: Any = None) -> list[Row]:
    """Return the rows of a film, each with what it has of the one before it.

    Parameters
    ----------
    base
        What all have in common.
    rows
        In the order of the frames.
    folder
        Where results go.
    carry
        Share of the result before in each frame's initial picture, in [0, 1); None for nothing.
    seed_every
        Frames after which the seed goes up by one, at least 1; None for the same noise in each.
    noise_walk
        Frames in which the noise turns to that of another seed, or back, at least 2; None where it does not.

    Raises
    ------
    ParameterError
        A value breaks its rule, or the recipe has a mask.
    """
    if carry is not None and not (isinstance(carry, (int, float)) and not isinstance(carry, bool) and 0 <= carry < 1):
        raise ParameterError(breaks_rule("carry", "a number in [0, 1)", carry))
    if seed_every is not None and not (type(seed_every) is int and seed_every >= 1):
        raise ParameterError(breaks_rule("seed_every", "a whole number of frames, at least 1", seed_every))
    if noise_walk is not None:
        _check_walk(base, seed_every, noise_walk)
    if carry and base.mask is not None:
        raise ParameterError("`carry` must be left out with a mask: the mask lies over the source's own frames.")
    made = []
    for number, row in enumerate(rows):
        before = folder / rows[number - 1].file if carry and number else None
        walked = _walked(number, noise_walk) if noise_walk else (0, 0.0)
        how = Following(before, float(carry or 0), number // seed_every if seed_every else 0, walked)
        made.append(dataclasses.replace(row, following=how))
    return made


def _walked(number: int, frames: int) -> tuple[int, float]:
    """Return towards which seed a frame's noise is turned, and how far: there in so many frames, and back in as many.

    The seed itself stays: with another one the VAE would draw another sample of the picture, and the scheduler other noise
    at its steps, both at once.
    """
    way, step = divmod(number, frames)
    return way // 2 + 1, step / frames if way % 2 == 0 else 1 - step / frames


def _check_walk(base: Recipe, seed_every: Any, noise_walk: Any) -> None:
    if type(noise_walk) is not int or noise_walk < 2:
        raise ParameterError(breaks_rule("noise_walk", "a whole number of frames, at least 2", noise_walk))
    if seed_every is not None:
        raise ParameterError("`noise_walk` must be left out with `seed_every`, which changes the noise at once. Leave one out.")
    if base.variation is not None or base.mask is not None:
        there = "a variation" if base.variation is not None else "a mask"
        raise ParameterError(f"`noise_walk` must be left out with {there}. Leave one of them out.")
    if not preset_of(base.model).varies_noise:
        way_out = "Use `seed_every`, or a model such as sd15."
        raise ParameterError(f"`noise_walk` is not taken by {base.model}, whose noise nothing turns. {way_out}")

"""Sequence: rows in the order of a film's frames, each with what it has of the one before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..recipes.recipe import Recipe
from .following import Following
from .rows import Row


def following(base: Recipe, rows: Sequence[Row], folder: Path, carry: Any, seed_every: Any) -> list[Row]:
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

    Raises
    ------
    ParameterError
        A value breaks its rule, or the recipe has a mask.
    """
    if carry is not None and not (isinstance(carry, (int, float)) and not isinstance(carry, bool) and 0 <= carry < 1):
        raise ParameterError(breaks_rule("carry", "a number in [0, 1)", carry))
    if seed_every is not None and not (type(seed_every) is int and seed_every >= 1):
        raise ParameterError(breaks_rule("seed_every", "a whole number of frames, at least 1", seed_every))
    if carry and base.mask is not None:
        raise ParameterError("`carry` must be left out with a mask: the mask lies over the source's own frames.")
    made = []
    for number, row in enumerate(rows):
        before = folder / rows[number - 1].file if carry and number else None
        how = Following(before, float(carry or 0), number // seed_every if seed_every else 0)
        made.append(dataclasses.replace(row, following=how))
    return made

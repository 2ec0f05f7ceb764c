"""Several pictures of each cell: an axis of seeds that go up by one."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError, breaks_rule
from ..prompts.alternatives import MAX_VALUES
from .axes import Axis

FIELD = "num_images_per_prompt"
"""What diffusers calls the count; AUTOMATIC1111 calls it the batch size."""


def checked_count(count: Any, several_seeds: bool = False) -> int:
    """Return how many pictures of each cell are meant.

    Parameters
    ----------
    count
        A whole number, or its text.
    several_seeds
        Whether the seeds are given one by one.

    Raises
    ------
    ParameterError
        It is no count, or the seeds are given.
    """
    text = str(count) if isinstance(count, str) or (isinstance(count, int) and not isinstance(count, bool)) else ""
    # `int` reads digits of every script.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_VALUES)) and 1 <= int(text) <= MAX_VALUES):
        raise ParameterError(breaks_rule(FIELD, f"a whole number in [1, {MAX_VALUES}]", count))
    if several_seeds:
        raise ParameterError(f"`{FIELD}` must be left out where `seed` has several values. Give one seed: the others follow it.")
    return int(text)


def seeds_of(seed: int, count: int) -> Axis:
    """Return the axis of the seeds from one on: each picture is what its seed makes by itself."""
    return Axis("seed", tuple(range(seed, seed + count)))

"""Pictures that come with the package, by name: `example:penguin`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from PIL import Image

from ..errors import ImageInputError, breaks_rule, did_you_mean
from .world import sample

MARK = "example:"
"""Beginning of a picture's name."""
SIDES = (16, 2048)
"""Smallest and largest side, in pixels."""
SIDE = 128
"""Side of a picture where no other is asked for: what the embedded checkpoints draw."""
EXAMPLES: Mapping[str, int] = {
    "penguin": 3000110,
    "cat": 3000002,
    "cat-wizard": 3000043,
    "astronaut": 3000262,
    "robot": 3000041,
    "rocket": 3000040,
    "house": 3000120,
    "tree": 3000052,
}
"""Each picture's seed in the drawn world, see `world.sample`."""


def example(text: str) -> Image.Image:
    """Return the picture that a name stands for.

    Parameters
    ----------
    text
        Such as "example:penguin", or "example:penguin@512" for another side than 128, in [16, 2048] pixels.

    Returns
    -------
    PIL image, RGB, square; the same drawing at every size.

    Raises
    ------
    ImageInputError
        There is no such picture, or not of this size.
    """
    name, at, side = text.removeprefix(MARK).partition("@")
    if name not in EXAMPLES:
        names = [MARK + one for one in EXAMPLES]
        raise ImageInputError(breaks_rule("image", f"one of {', '.join(names)}", text, did_you_mean(MARK + name, names)))
    if at and not (re.fullmatch("[0-9]{1,4}", side) and SIDES[0] <= int(side) <= SIDES[1]):
        raise ImageInputError(
            breaks_rule("image", f"an example with a side in [{SIDES[0]}, {SIDES[1]}] pixels", text, f"Write {MARK}{name}@512.")
        )
    return sample(EXAMPLES[name], int(side) if at else SIDE).image

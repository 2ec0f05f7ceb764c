"""Outpainting: a larger canvas around a picture, and the mask of what is new on it."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from ..errors import ParameterError, Words, breaks_rule
from .fitting import MAX_SIDE, Size

SIDES = ("left", "top", "right", "bottom")
FORM = "sides with pixels such as left:64,top:128, or a shape such as 1:1"
_SIDE = re.compile(r"(left|top|right|bottom):([0-9]{1,4})")
_SHAPE = re.compile(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})")


def checked(name: str, text: str) -> str:
    """Return what says how a picture is extended with its sides in order, or raise `ParameterError` where it has no such form."""
    if _SHAPE.fullmatch(text):
        return text
    found = [_SIDE.fullmatch(part.strip()) for part in text.split(",")]
    sides = {one[1]: int(one[2]) for one in found if one}
    if None in found or len(sides) < len(found) or not any(sides.values()):
        raise ParameterError(breaks_rule(name, FORM, text))
    return ",".join(f"{side}:{sides[side]}" for side in SIDES if sides.get(side))


def margins(text: str, size: Size, multiple: int) -> tuple[int, int, int, int]:
    """Return the pixels that are added left, above, right and below.

    Parameters
    ----------
    text
        From `checked`. A shape is met by adding to two opposite sides, as little as a
        multiple allows.
    size
        Width and height of the picture, multiples of `multiple`.
    multiple
        Of both sides of what is made.

    Raises
    ------
    ParameterError
        A side is no multiple, the picture has the shape already, or what is made is too large.
    """
    width, height = size
    shape = _SHAPE.fullmatch(text)
    if shape:
        across, down = int(shape[1]), int(shape[2])
        added_width = max(0, _up(height * across, down, multiple) - width)
        added_height = 0 if added_width else max(0, _up(width * down, across, multiple) - height)
        left, top = added_width // 2, added_height // 2
        found = left, top, added_width - left, added_height - top
    else:
        given = dict(part.split(":") for part in text.split(","))
        for side, pixels in given.items():
            if int(pixels) % multiple:
                nearest = max(1, round(int(pixels) / multiple)) * multiple
                shown = Words(f"{side}:{pixels}")
                raise ParameterError(
                    breaks_rule("extend", f"made of multiples of {multiple}", shown, f"The nearest is {nearest}.")
                )
        found = tuple(int(given.get(side, 0)) for side in SIDES)  # type: ignore[assignment]
    if not any(found):
        raise ParameterError(f"`extend` must add something, and the picture, {width}x{height}, is {text} already. Leave it out.")
    made = width + found[0] + found[2], height + found[1] + found[3]
    if max(made) > MAX_SIDE:
        shown = Words(f"{text}, which gives {made[0]}x{made[1]}")
        raise ParameterError(breaks_rule("extend", f"of a result of at most {MAX_SIDE} pixels a side", shown))
    return found


def extended(image: Image.Image, added: tuple[int, int, int, int]) -> tuple[Image.Image, Image.Image]:
    """Return a picture on a larger canvas, and the mask of what is to be drawn there.

    Parameters
    ----------
    image
        RGB picture.
    added
        From `margins`.

    Returns
    -------
    tuple of PIL.Image.Image
        RGB: what is new has the colours of the nearest edge. L: what is new is white, and so is
        a strip of the picture along it, a sixteenth of its shorter side and at least 8 pixels.
    """
    left, top, right, bottom = added
    canvas = Image.fromarray(np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge"))
    strip = max(8, min(image.size) // 16)
    first = left + (strip if left else 0), top + (strip if top else 0)
    last = left + image.width - (strip if right else 0), top + image.height - (strip if bottom else 0)
    mask = Image.new("L", canvas.size, 255)
    mask.paste(0, (*first, *last))
    return canvas, mask


def _up(numerator: int, denominator: int, multiple: int) -> int:
    """Round a fraction up to a multiple."""
    return -(-numerator // (denominator * multiple)) * multiple

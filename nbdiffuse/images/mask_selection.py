"""Masks that a picture says itself: its transparent part, or the part that has a colour."""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor

from ..errors import ParameterError, breaks_rule
from .masks import as_mask
from .picture import Picture

ALPHA = "auto:alpha"
"""Selects what is transparent in the initial picture."""
COLOR = re.compile(r"color:(?P<color>#[0-9a-f]{6}|#[0-9a-f]{3}|[a-z]+)(?:~(?P<tolerance>[0-9]{1,3}))?")
"""Selects what has a colour, such as `color:#87ceeb~40`: no channel is further from it than the tolerance, 0 when not given."""
FORMS = f"`{ALPHA}`, or `color:#87ceeb~40` with a tolerance in [0, 255]"
_BEGINNINGS = ("auto:", "color:")


def is_selection(value: object) -> bool:
    """Tell whether a text selects a part of the initial picture, and is not the name of a picture."""
    return isinstance(value, str) and value.startswith(_BEGINNINGS)


def checked(name: str, text: str) -> str:
    """Return a selection in small letters, or raise `ParameterError` where it has no such form."""
    if text.lower() != ALPHA:
        _color(name, text.lower())
    return text.lower()


def select(image: Picture, text: str) -> Picture:
    """Return the mask that a selection stands for.

    Parameters
    ----------
    image
        The initial picture.
    text
        `auto:alpha` or `color:COLOUR~TOLERANCE`: a colour is six or three hexadecimal digits
        after "#", or a name of CSS; a pixel is selected where each of its channels is at most
        the tolerance, in [0, 255], away from it.

    Returns
    -------
    Picture
        Of the same size: 255 where the picture is redrawn; where it is half transparent, something
        between. Its notices say how much is selected.

    Raises
    ------
    ParameterError
        Nothing is selected, or the picture has no transparent part.
    """
    mask = _transparent(image, text) if text == ALPHA else _colored(image, text)
    share = float(np.asarray(mask).mean()) / 255
    if mask.getbbox() is None:
        way_out = "Raise the tolerance behind `~`, or take another colour."
        raise ParameterError(f"`mask_image` must select a part of the picture, and {text} selects nothing. {way_out}")
    picture = as_mask(Picture.of(mask, text))
    line = f"{text} selects {share:.1%} of the picture"
    return dataclasses.replace(picture, notices=(line, *picture.notices))


def _transparent(image: Picture, text: str) -> Image.Image:
    if image.alpha is None:
        way_out = "Give a picture with a transparent part, or a mask."
        raise ParameterError(f"`mask_image` must be a picture where the initial one has no transparency, got {text!r}. {way_out}")
    return image.alpha.point(lambda value: 255 - value)


@lru_cache(maxsize=8)
def _colored(image: Picture, text: str) -> Image.Image:
    color, tolerance = _color("mask_image", text)
    apart = np.abs(np.asarray(image.image).astype(np.int16) - np.array(color, np.int16))
    return Image.fromarray(np.where((apart <= tolerance).all(-1), 255, 0).astype(np.uint8))


def _color(name: str, text: str) -> tuple[tuple[int, ...], int]:
    found = COLOR.fullmatch(text)
    tolerance = int(found["tolerance"] or 0) if found else 256
    try:
        color = ImageColor.getrgb(found["color"])[:3] if found else ()
    except ValueError:
        color = ()
    if not color or tolerance > 255:
        raise ParameterError(breaks_rule(name, f"a picture, {FORMS}", text))
    return color, tolerance

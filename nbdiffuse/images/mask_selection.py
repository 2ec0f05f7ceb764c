"""Masks that a text selects from a picture: its transparent part, a colour, or what a model finds in it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
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
SUBJECT = "auto:subject"
"""Selects what stands in the picture; a model finds it."""
ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
MODELLED = re.compile(
    rf"(?:{SUBJECT}|text:(?P<words>[^~@]*[^~@\s]))(?:~(?P<threshold>0?\.\d{{1,4}}))?(?:@(?P<checkpoint>{ID}|[a-z][\w-]*))?"
)
"""Selects what a model finds: `text:sky`, `text:red hat~0.3` with the probability from which a pixel is taken, 0.5 when not
given, `text:sky@owner/name` by another model than the usual one."""
FORMS = f"`{ALPHA}`, `{SUBJECT}`, `text:sky`, or `color:#87ceeb~40` with a tolerance in [0, 255]"
_BEGINNINGS = ("auto:", "color:", "text:")


@dataclass(frozen=True)
class ModelledSelection:
    """What a model is to find in a picture.

    Parameters
    ----------
    words
        What to look for; None for the subject.
    threshold
        Probability from which a pixel is selected, in (0, 1).
    checkpoint
        The model, or None for the usual one.
    """

    words: str | None
    threshold: float = 0.5
    checkpoint: str | None = None

    @property
    def text(self) -> str:
        """The selection as it is written."""
        threshold = "" if self.threshold == 0.5 else f"~{self.threshold:g}"
        checkpoint = f"@{self.checkpoint}" if self.checkpoint else ""
        return f"{SUBJECT if self.words is None else f'text:{self.words}'}{threshold}{checkpoint}"


def is_selection(value: object) -> bool:
    """Tell whether a text selects a part of the initial picture, and is not the name of a picture."""
    return isinstance(value, str) and value.startswith(_BEGINNINGS)


def modelled(text: object) -> ModelledSelection | None:
    """Return what a model is to find, or None where a text selects something else, or is no selection."""
    found = MODELLED.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    return ModelledSelection(found["words"], float(found["threshold"] or 0.5), found["checkpoint"])


def checked(name: str, text: str) -> str:
    """Return a selection as it is kept, or raise `ParameterError` where it has no such form; a colour in small letters."""
    found = modelled(text)
    if found is not None:
        if not 0 < found.threshold < 1:
            raise ParameterError(breaks_rule(name, "selected from a probability in (0, 1), such as `text:sky~0.3`", text))
        return text
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
    return as_selected(mask, text, "Raise the tolerance behind `~`, or take another colour.")


def as_selected(mask: Image.Image, text: str, way_out: str) -> Picture:
    """Return an L picture as the mask that a text selects; its label is the text, and its notices say how much is selected.

    Raises
    ------
    ParameterError
        Nothing is selected; the line ends with the way out.
    """
    if mask.getbbox() is None:
        raise ParameterError(f"`mask_image` must select a part of the picture, and {text} selects nothing. {way_out}")
    picture = as_mask(Picture.of(mask, text))
    line = f"{text} selects {float(np.asarray(mask).mean()) / 255:.1%} of the picture"
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

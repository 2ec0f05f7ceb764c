"""Masks: a picture that says where another one is redrawn, and what a person should know of how it was read."""

from __future__ import annotations

import dataclasses

from PIL import Image, ImageChops

from .conversion import COMPOSITED
from .picture import Picture

OVERLAYS = ("exact", "feather", "none")
"""What may become of the black part: the initial picture's own pixels, these with a soft seam, or what the pipeline made."""
HALF = 128
"""Brightness in [0, 255] from which diffusers redraws (`VaeImageProcessor.binarize`)."""
_COLOURED = 24
"""Distance between two channels from which a pixel counts as coloured; a grey JPEG stays below."""
EMPTY = "the mask is black everywhere: nothing is redrawn"
DIM = "the mask is nowhere brighter than half: the model redraws nothing"
FULL = "the mask is white everywhere: the whole picture is redrawn"
COLOURED = "the mask is a colour picture: its brightness counts, bright parts are redrawn"


def as_mask(picture: Picture) -> Picture:
    """Return a picture as the mask that a person means with it.

    - Transparent pixels: the painted part is redrawn, see `layers.painted`.
    - None, or all of them opaque: its brightness counts, white is redrawn and black is kept.

    Parameters
    ----------
    picture
        Of any kind and size.

    Returns
    -------
    Picture
        Known by the mask's own pixels, so that it means the same when it is found by
        its address. `notices` says what was taken, and whether it is a colour
        picture, empty or full.
    """
    if picture.read_as_mask or not picture.at_hand:
        return picture
    notices = tuple(line for line in picture.notices if not line.startswith(COMPOSITED))
    if picture.painted is not None:
        grey, taken = picture.painted
        mask = Picture.of(grey, picture.label)
        notices += (taken,)
    else:
        mask = picture
    added = tuple(line for line in _notices(mask.image) if line not in notices)
    return dataclasses.replace(mask, notices=notices + added, read_as_mask=True, painted=None)


def stands_for(found: object, meant: Picture) -> bool:
    """Tell whether a picture, put where another one stood, means the same: a layer means the mask that it was read as."""
    return (as_mask(found) if meant.read_as_mask and isinstance(found, Picture) else found) == meant


def _notices(image: Image.Image) -> tuple[str, ...]:
    return (*((COLOURED,) if _is_coloured(image) else ()), *extent_notices(image.convert("L")))


def extent_notices(mask: Image.Image) -> tuple[str, ...]:
    """Say of an L picture that as a mask it redraws nothing or everything, where it does."""
    low, high = (int(value) for value in mask.getextrema())  # type: ignore[arg-type]
    extent = EMPTY if high == 0 else DIM if high < HALF else FULL if low >= HALF else ""
    return (extent,) if extent else ()


def _is_coloured(image: Image.Image) -> bool:
    red, green, blue = image.split()
    apart = ImageChops.lighter(ImageChops.difference(red, green), ImageChops.difference(green, blue))
    apart = ImageChops.lighter(apart, ImageChops.difference(red, blue))
    return sum(apart.histogram()[_COLOURED:]) > 0.01 * image.width * image.height


def overlay(redrawn: Image.Image, initial: Image.Image, mask: Image.Image) -> Image.Image:
    """Put the initial picture's own pixels back where the mask is black.

    Parameters
    ----------
    redrawn, initial
        RGB pictures of one size.
    mask
        L picture of that size: 0 gives the initial picture's bytes, 255 the redrawn
        ones, grey a mixture of the two, rounded to the nearest.

    Returns
    -------
    PIL.Image.Image
        RGB. For black and white masks the same as `VaeImageProcessor.apply_overlay`,
        which rounds grey ones twice.
    """
    return Image.composite(redrawn, initial, mask)

"""Masks as values: what is redrawn in one, in the other, in both; inverted, grown and blurred ones.

Every function takes what `Recipe` takes as a mask (a file, a PIL image, an array, a `Picture`) and
returns a `Picture` that is grey: 255 is redrawn. A layer with transparent pixels is read as
`masks.as_mask` reads it.

Examples
--------
>>> from nbdiffuse.images.mask_arithmetic import difference, grown
>>> ring = difference(grown("cat.png", 16), "cat.png")  # doctest: +SKIP
"""

from __future__ import annotations

import numbers
from typing import Any

from PIL import Image, ImageChops

from ..errors import ImageInputError, ParameterError, Words, breaks_rule
from . import mask_shapes
from .masks import as_mask
from .picture import Picture


def union(a: Any, b: Any) -> Picture:
    """Return the mask of what is redrawn in either of two masks of one size: the brighter of both pixels."""
    return _picture(ImageChops.lighter(*_of_one_size(a, b)))


def intersection(a: Any, b: Any) -> Picture:
    """Return the mask of what is redrawn in both of two masks of one size: the darker of both pixels."""
    return _picture(ImageChops.darker(*_of_one_size(a, b)))


def difference(a: Any, b: Any) -> Picture:
    """Return the mask of what is redrawn in the first of two masks of one size and not in the second."""
    first, second = _of_one_size(a, b)
    return _picture(ImageChops.darker(first, mask_shapes.inverted(second)))


def inverted(a: Any) -> Picture:
    """Return the mask of all that another one keeps."""
    return _picture(mask_shapes.inverted(_grey(a)))


def grown(a: Any, n: int) -> Picture:
    """Return a mask grown by a number of pixels to every side, in [-256, 256]; a negative number shrinks it.

    Raises
    ------
    ParameterError
        The number is no whole one, or out of range.
    """
    most = mask_shapes.MOST_PIXELS
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or not -most <= n <= most:
        raise ParameterError(breaks_rule("n", f"a whole number of pixels in [-{most}, {most}]", n))
    return _picture(mask_shapes.grown(_grey(a), int(n)))


def blurred(a: Any, r: float) -> Picture:
    """Return a mask with a soft edge; the radius is the standard deviation, in [0, 256] pixels.

    Raises
    ------
    ParameterError
        The radius is no number, or out of range.
    """
    most = mask_shapes.MOST_PIXELS
    if isinstance(r, bool) or not isinstance(r, numbers.Real) or not 0 <= r <= most:
        raise ParameterError(breaks_rule("r", f"a number of pixels in [0, {most}]", r))
    return _picture(mask_shapes.blurred(_grey(a), float(r)))


def _grey(mask: Any) -> Image.Image:
    return as_mask(Picture.of(mask)).image.convert("L")


def _of_one_size(a: Any, b: Any) -> tuple[Image.Image, Image.Image]:
    first, second = _grey(a), _grey(b)
    if first.size != second.size:
        rule = f"of the first one's size, {first.width}x{first.height}"
        shown = Words(f"{second.width}x{second.height}")
        raise ImageInputError(breaks_rule("second mask", rule, shown, "Resize one of them."))
    return first, second


def _picture(mask: Image.Image) -> Picture:
    return as_mask(Picture.of(mask, ""))

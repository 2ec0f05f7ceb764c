"""What is done to a mask before it is used: the other part is meant, it is grown or shrunk, its edge is softened."""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

MOST_PIXELS = 256
"""How far a mask may be grown, shrunk or softened, in pixels."""


def shaped(mask: Image.Image, *, invert: bool = False, grow: int = 0, blur: float = 0) -> Image.Image:
    """Invert a mask, then grow it, then soften its edge.

    The order is AUTOMATIC1111's (`processing.py`: inverted, then blurred), which has nothing
    that grows a mask: what is grown is the part that is redrawn in the end.

    Parameters
    ----------
    mask
        L picture of any size: 255 is redrawn.
    invert
        Whether black and white change places.
    grow, blur
        As for `grown` and `blurred`.

    Returns
    -------
    PIL.Image.Image
        L, of the same size.
    """
    return blurred(grown(inverted(mask) if invert else mask, grow), blur)


def inverted(mask: Image.Image) -> Image.Image:
    """Return an L picture with black and white in each other's place."""
    return ImageOps.invert(mask)


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """Grow the white part of an L picture by a number of pixels to every side, corners too; a negative number shrinks it.

    It is the same as Pillow's `MaxFilter(2 * pixels + 1)`, and for large numbers much quicker.
    """
    step = ImageFilter.MaxFilter(3) if pixels > 0 else ImageFilter.MinFilter(3)
    for _ in range(abs(pixels)):
        mask = mask.filter(step)
    return mask


def blurred(mask: Image.Image, radius: float) -> Image.Image:
    """Soften the edges of an L picture; `radius` is the standard deviation, in pixels.

    It is what diffusers does (`VaeImageProcessor.blur`); AUTOMATIC1111's "Mask blur" counts alike.
    """
    return mask.filter(ImageFilter.GaussianBlur(radius)) if radius else mask

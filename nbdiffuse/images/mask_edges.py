"""Where the picture's own pixels are put back around what was redrawn: at the mask's edge, softly inside of it, or by levels.

Black stays black everywhere: what a mask keeps is kept to the byte. The functions stand in programs as they are here.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

FEATHER = 4
"""Pixels inside of a border on which what was redrawn comes in."""
STEEP = 4
"""How much brighter than a mask its edge is, where grey means a strength and not a mixture."""


def edge(mask: Image.Image, overlay: str | None, differential: bool | None) -> Image.Image:
    """Return where what was redrawn is laid over the picture, of an L mask as the pipeline gets it and what is said of it."""
    mask = steep(mask) if differential else mask
    return feathered(mask, FEATHER) if overlay == "feather" else mask


def feathered(mask: Image.Image, pixels: int) -> Image.Image:
    """Return an L mask that grows bright over some pixels inside of its border."""
    inner, total = mask, np.zeros((mask.height, mask.width))
    for _ in range(pixels):
        inner = inner.filter(ImageFilter.MinFilter(3))
        total += np.asarray(inner)
    return Image.fromarray((total / pixels).round().astype(np.uint8))


def steep(mask: Image.Image) -> Image.Image:
    """Return an L mask as the edge of a part that is redrawn by levels: what is dim is bright."""
    return mask.point(lambda value: min(255, STEEP * value))

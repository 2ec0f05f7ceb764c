"""Layers: a picture with transparent pixels, read as a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

DARK, BRIGHT = 64, 191
"""Brightness in [0, 255] up to which paint counts as black, and from which it counts as white."""
_SHARE = 0.002
"""Part of the painted pixels that both black and white must have to count as paint of two kinds."""
_GREY = 24
"""Distance between a pixel's channels up to which it has no colour."""
PAINTED = "the mask has transparent pixels: its painted part is redrawn, whatever its colour, and its transparent part is kept"
ERASED = f"{PAINTED}; most of it is painted: invert it where the erased part was meant"
TWO_PAINTS = "the mask has transparent pixels, and black and white paint: the white paint is redrawn, all else is kept"


def painted(colour: Image.Image, alpha: Image.Image) -> tuple[Image.Image, str]:
    """Return the mask that a layer with transparent pixels stands for.

    The painted part counts, whatever its colour, as in AUTOMATIC1111
    (`create_binary_mask` of modules/images.py) and in the editors of Gradio and
    Photoshop: white, black and red strokes on a transparent layer are the same
    mask. Only paint that is plainly black in one place and white in another says
    more than where it is: there black paint is kept, as an eraser would have it, and
    white paint is redrawn. What is transparent is kept in either case.

    Parameters
    ----------
    colour
        L or RGB picture, without regard to its transparency.
    alpha
        L picture of the same size; somewhere below 255.

    Returns
    -------
    tuple
        An L picture, 255 where the picture is redrawn; and a line that says what was taken.
    """
    opacity = np.asarray(alpha)
    paint = np.asarray(colour if colour.mode == "L" else colour.convert("RGB"))[opacity == 255]
    if not _is_black_and_white(paint):
        # A picture with a hole in it is what some tools mean the other way round.
        return _to_full(opacity), ERASED if np.mean(opacity > 0) > 0.5 else PAINTED
    grey = np.asarray(colour.convert("L"), np.uint16)
    return Image.fromarray(((grey * opacity + 127) // 255).astype(np.uint8)), TWO_PAINTS


def _to_full(opacity: np.ndarray[Any, Any]) -> Image.Image:
    """Let the most opaque paint count in full: a brush of half opacity shows the picture below, and means as much."""
    highest = int(opacity.max())
    if highest in (0, 255):
        return Image.fromarray(opacity)
    return Image.fromarray(((opacity.astype(np.uint16) * 255 + highest // 2) // highest).astype(np.uint8))


def _is_black_and_white(paint: np.ndarray[Any, Any]) -> bool:
    if not paint.size:
        return False
    least, most = (paint, paint) if paint.ndim == 1 else (paint.min(1), paint.max(1))
    dark, bright = np.mean(most <= DARK), np.mean(least >= BRIGHT)
    grey = np.mean(most - least <= _GREY)
    # A photograph that was cut out has colours, or all kinds of grey between.
    return bool(grey >= 0.99 and min(dark, bright) >= _SHARE and dark + bright >= 0.5)

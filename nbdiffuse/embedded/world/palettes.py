"""Colour moods: how a palette's words change a finished picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

PALETTES: dict[str, tuple[str, ...]] = {
    "natural": (),
    "cold": ("cold color palette",),
    "warm": ("warm color palette",),
    "muted": ("muted colors",),
    "vivid": ("vivid colors",),
    "cold muted": ("cold color palette", "muted colors"),
    "cold vivid": ("cold color palette", "vivid colors"),
    "warm muted": ("warm color palette", "muted colors"),
    "warm vivid": ("warm color palette", "vivid colors"),
}
"""The words that a caption uses for each palette."""

_RAMPS = {
    "cold": np.array([(8, 16, 52), (36, 92, 160), (110, 178, 222), (232, 246, 255)], np.float32),
    "warm": np.array([(44, 8, 12), (164, 58, 30), (238, 156, 70), (255, 244, 214)], np.float32),
}
_STOPS = np.array([0.0, 0.35, 0.7, 1.0], np.float32)


def grade(pixels: Pixels, palette: str) -> Pixels:
    """Colour-grade a picture.

    Parameters
    ----------
    pixels
        RGB, shape (height, width, 3), float32, in [0, 255].
    palette
        A key of `PALETTES`.

    Returns
    -------
    The graded picture, same shape and range.
    """
    light = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    mood, *_ = [*palette.split(), ""]
    if mood in _RAMPS:
        levels = light[..., 0] / 255
        tinted = np.stack([np.interp(levels, _STOPS, _RAMPS[mood][:, channel]) for channel in range(3)], axis=-1)
        pixels = 0.36 * pixels + 0.64 * tinted.astype(np.float32)
        light = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    if palette.endswith("muted"):
        pixels = (128 + 0.72 * (light + 0.34 * (pixels - light) - 128)).astype(np.float32)
    elif palette.endswith("vivid"):
        pixels = (120 + 1.18 * (light + 1.75 * (pixels - light) - 120)).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.float32)

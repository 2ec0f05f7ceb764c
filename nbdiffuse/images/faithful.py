"""A picture as faithful as it can be made afterwards: brought back to where it was, and to the colours of what stayed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .fidelity import Array, drift, may_change, recognised, sized
from .registration import register, registered

NOTHING_STAYED = "`keep_color`: nothing of the initial picture was recognised, so the colours are as they came."
_OFF = 20.0
"""Difference of a channel, beyond what all of them share, from which a pixel counts as another thing and not as off."""
_ROUNDS = 8


def aligned(image: Image.Image, initial: Image.Image) -> tuple[Image.Image, str]:
    """Bring a picture back to where the one was that it was made from.

    Parameters
    ----------
    image, initial
        RGB; the initial picture is taken at the size of the other.

    Returns
    -------
    tuple
        The picture, whose border is the initial one's where it was beyond it; and a line that says what was
        undone, or "" where nothing moved, and then it is as it was, byte for byte.
    """
    initial = sized(initial, image)
    found = register(initial, image)
    if found.shift == 0:
        return image, ""
    return registered(image, initial, found), f"`align`: the picture was {found}, which is undone."


def recolored(image: Image.Image, initial: Image.Image, mask: Image.Image | None) -> tuple[Image.Image, str]:
    """Bring a picture's colours to those that the initial picture has in what stayed.

    Parameters
    ----------
    image, initial
        RGB; the initial picture is taken at the size of the other.
    mask
        L: what is white may change, and says nothing of the colours; None looks for what is still there.

    Returns
    -------
    tuple
        The picture, each channel times a number plus a number; and a line that says what was done.
    """
    initial = sized(initial, image)
    stays = recognised(initial, image) if mask is None else ~may_change(mask, image.size)
    if stays.mean() < 0.02:
        return image, NOTHING_STAYED
    given = np.asarray(image.convert("RGB"), np.float64)
    matched = np.empty_like(given)
    for channel in range(3):
        scale, offset = _line(given[..., channel][stays], np.asarray(initial, np.float64)[..., channel][stays])
        matched[..., channel] = given[..., channel] * scale + offset
    done = Image.fromarray(matched.clip(0, 255).round().astype(np.uint8))
    before, after = drift(initial, image, mask), drift(initial, done, mask)
    if after >= before:
        return image, ""
    return done, f"`keep_color`: the colours of what stayed were off by ΔE {before:.1f}, and are by {after:.1f}."


def _line(given: Array, wanted: Array) -> tuple[float, float]:
    """Return scale and offset that bring most of some values to others; what differs beyond them counts less and less."""
    weights = np.ones_like(given)
    scale, offset = 1.0, float(np.median(wanted - given))
    for _ in range(_ROUNDS):
        apart = wanted - (given * scale + offset)
        weights = 1 / (1 + (apart / _OFF) ** 4)
        middle, target = np.average(given, weights=weights), np.average(wanted, weights=weights)
        spread = float(np.average((given - middle) ** 2, weights=weights))
        # Without contrast there is nothing to scale.
        scale = float(np.average((given - middle) * (wanted - target), weights=weights) + 1) / (spread + 1)
        scale = min(2.0, max(0.5, scale))
        offset = float(target - scale * middle)
    return scale, offset

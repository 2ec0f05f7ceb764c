"""Scenes of the drawn world seen from elsewhere, so that by how much a picture was moved, zoomed and turned is known."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from nbdiffuse.embedded.world import sample

FINER = 3
"""Pixels that are drawn for each that is seen, along a side."""


def seen(
    seed: int,
    size: int,
    *,
    zoom: float = 1,
    turned: float = 0,
    right: float = 0,
    down: float = 0,
    drawn: Image.Image | None = None,
) -> Image.Image:
    """Return the middle of a scene, RGB, `size` x `size`, as it is once it was zoomed, turned clockwise and moved.

    Parameters
    ----------
    drawn
        Another drawing of the scene, such as an edited one, in its own larger size.
    """
    world = sample(seed, FINER * size).image if drawn is None else drawn
    angle, scale = math.radians(turned), 0.8 * world.width / size / zoom
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) * scale
    corner = world.width / 2 - matrix @ np.array([size / 2 + right, size / 2 + down])
    (a, b), (d, e) = matrix / FINER
    values = (a, b, corner[0], d, e, corner[1])
    fine = world.transform((FINER * size, FINER * size), Image.Transform.AFFINE, values, Image.Resampling.BICUBIC)
    return fine.resize((size, size), Image.Resampling.BOX)


def jpeg(image: Image.Image, quality: int = 90) -> Image.Image:
    """Return a picture as a JPEG has it."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")

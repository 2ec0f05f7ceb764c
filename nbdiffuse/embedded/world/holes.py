"""Holes: masks of a scene as people make them, white where something new is to be drawn."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from . import places
from .canvas import Canvas
from .scene import Scene, stand

HOLES = ("subject", "box", "half", "strokes", "around")
"""Around what stands there, its shape grown or a box; half of the picture; strokes of a brush; all but what stands there."""


def shape(scene: Scene, subject: str) -> Image.Image:
    """Return where another subject would stand in a scene, L, 255 on it."""
    rng = Random(f"scene {scene.seed}")
    canvas = Canvas(scene.size, "mask")
    places.PLACES[scene.place](canvas, rng)
    stand(canvas, subject, rng)
    return canvas.finish()


def hole(scene: Scene, kind: str, rng: Random, *subjects: str) -> Image.Image:
    """Draw a mask of a scene.

    Parameters
    ----------
    scene
        What is masked.
    kind
        Of `HOLES`.
    rng
        Draws sizes, sides and strokes.
    subjects
        Others that have room in the hole, beside the scene's own.

    Returns
    -------
    L, black and white, of the scene's size.
    """
    size = scene.size
    if kind == "half":
        return _half(size, rng)
    if kind == "strokes":
        return _strokes(size, rng)
    standing = scene.mask
    for subject in subjects:
        standing = ImageChops.lighter(standing, shape(scene, subject))
    solid = standing.point(lambda value: 255 if value else 0)
    if kind == "box":
        mask = Image.new("L", (size, size))
        left, top, right, bottom = solid.getbbox() or (0, 0, size, size)
        margins = [rng.uniform(0.02, 0.09) * size for _ in range(4)]
        corners = (left - margins[0], top - margins[1], right + margins[2], bottom + margins[3])
        ImageDraw.Draw(mask).rectangle(corners, fill=255)
        return mask
    if kind == "around":
        return ImageOps.invert(_grown(solid, rng.uniform(0.0, 0.04) * size))
    return _grown(solid, rng.uniform(0.03, 0.09) * size)


def _grown(mask: Image.Image, pixels: float) -> Image.Image:
    return mask.filter(ImageFilter.MaxFilter(2 * round(pixels) + 1))


def _half(size: int, rng: Random) -> Image.Image:
    share, mask = rng.uniform(0.35, 0.6), np.zeros((size, size), np.uint8)
    mask[:, : round(share * size)] = 255
    return Image.fromarray(np.ascontiguousarray(np.rot90(mask, rng.randrange(4))))


def _strokes(size: int, rng: Random) -> Image.Image:
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.randint(1, 4)):
        points = [(rng.uniform(0, size), rng.uniform(0, size)) for _ in range(rng.randint(2, 4))]
        width = round(rng.uniform(0.06, 0.2) * size)
        draw.line(points, fill=255, width=width, joint="curve")
        for x, y in points:
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return mask

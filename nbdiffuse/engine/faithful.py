"""What is done to a finished picture to keep it near the one that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from ..images.faithful import aligned, recolored
from ..recipes.recipe import Recipe


def made_faithful(
    recipe: Recipe, images: Sequence[Image.Image], pictures: Mapping[str, Image.Image]
) -> tuple[tuple[Image.Image, ...], tuple[str, ...]]:
    """Bring the pictures of a run back to where the initial one was and to its colours, as its recipe says.

    Parameters
    ----------
    recipe
        Complete.
    images
        What the pipeline made, RGB.
    pictures
        What it was given, by field.

    Returns
    -------
    tuple
        The pictures, and lines that say what was done, each once.
    """
    made, lines = [], []
    for image in images:
        if recipe.get("align"):
            image, line = aligned(image, pictures["image"])
            lines.append(line)
        if recipe.get("keep_color"):
            image, line = recolored(image, pictures["image"], pictures.get("mask_image"))
            lines.append(line)
        made.append(image)
    return tuple(made), tuple(line for line in dict.fromkeys(lines) if line)

"""Words that stand for pictures: the name of a variable, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..images.masks import stands_for
from ..images.picture import Picture
from ..results import Result
from ..runs.chain_run import ChainRun
from ..runs.loopback import Loopback

MADE = (Result, ChainRun, Loopback)
"""What has the picture that is meant as its `image`."""


def find_picture(word: str, names: Mapping[str, Any]) -> Picture:
    """Return the picture that a word stands for.

    Parameters
    ----------
    word
        The name of a variable that holds a picture or a result; else a file.
    names
        The variables, by name.

    Raises
    ------
    ImageInputError
        There is no picture, or not one that can be taken in whole.
    """
    held = names.get(word) if word.isidentifier() else None
    if isinstance(held, MADE):
        return Picture.of(held.image, label=word)
    return Picture.of(word) if held is None else Picture.of(held, label=word)


def names_of_pictures(names: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the variables that hold a picture or a result, the newest first; names that begin with "_" are left out."""
    found = [name for name, held in list(names.items()) if not name.startswith("_") and _is_picture(held)]
    return tuple(reversed(found))


def name_of(picture: Picture, names: Mapping[str, Any]) -> str | None:
    """Return a variable that holds a picture with these very pixels, or None."""
    for name in names_of_pictures(names):
        held = names.get(name)
        image = held.image if isinstance(held, MADE) else held
        # Hashing pixels costs milliseconds: only where the size is right.
        if isinstance(image, Image.Image) and image.size != picture.size:
            continue
        if stands_for(find_picture(name, names), picture):
            return name
    return None


def expression(word: str, names: Mapping[str, Any]) -> str:
    """Return Python that gives `Recipe` the picture that a word stands for."""
    held = names.get(word) if word.isidentifier() else None
    if held is None:
        return repr(word)
    return f"{word}.image" if isinstance(held, MADE) else word


def _is_picture(held: Any) -> bool:
    if isinstance(held, np.ndarray):
        return held.ndim == 3 and held.shape[2] in (3, 4) and min(held.shape[:2]) >= 16
    if isinstance(held, ChainRun):
        return bool(held.results)
    return isinstance(held, (Image.Image, Picture, *MADE))

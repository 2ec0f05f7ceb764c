"""What a run gives back, and how it shows itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from . import metadata
from .grids import Cell, contact_sheet, png_bytes
from .recipe import Recipe


@dataclass(frozen=True, eq=False)
class Result:
    """Pictures and the complete recipe that makes them again.

    Parameters
    ----------
    recipe
        Complete: every field that matters is set, the seed too.
    images
        RGB pictures, one for each image of the run.
    initial
        The initial picture as the pipeline saw it, RGB, or None for text-to-image.
    seconds
        Wall time of the run without loading, in seconds.
    fingerprint
        What else can change the pixels: versions, device, dtype, checkpoint.
    notices
        Lines a person should read, such as words that did not fit the text encoder.
    """

    recipe: Recipe
    images: tuple[Image.Image, ...]
    initial: Image.Image | None
    seconds: float
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Version of nbdiffuse that made it."""
        return self.fingerprint.get("nbdiffuse", "")

    @property
    def image(self) -> Image.Image:
        """The first picture, RGB."""
        return self.images[0]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture as PNG, JPEG or WebP with its recipe inside; the file is whole or not there.

        Raises
        ------
        FileError
            The suffix is not one of these, or the file cannot be written.
        """
        provenance = metadata.Provenance(
            recipe=self.recipe,
            fingerprint=self.fingerprint,
            parents=(self.recipe.image.address,) if self.recipe.image else (),
            version=self.version,
        )
        metadata.write(self.image, path, provenance)
        return Path(path)

    def cells(self) -> list[Cell]:
        """Return what a contact sheet shows of this result."""
        first = [Cell(self.initial, initial_label(self.recipe))] if self.initial else []
        return first + [Cell(image, result_label(self.recipe)) for image in self.images]

    def __repr__(self) -> str:
        return summary(self.recipe)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # The text names no model, time or size: notebooks then compare equal on every checkpoint.
        return {"image/png": png_bytes(contact_sheet(self.cells())), "text/plain": repr(self)}


def summary(recipe: Recipe) -> str:
    """Name the kind of run, without anything that depends on the model or the machine."""
    return "img2img: initial image | result" if recipe.image else "txt2img: result"


def initial_label(recipe: Recipe) -> str:
    """Label of the initial picture: its name, and how it was fitted."""
    picture = recipe.image
    name = picture.label or "initial image"
    width, height = picture.size
    fitted = "" if (width, height) == (recipe.width, recipe.height) else f" > {recipe.width}x{recipe.height}"
    return f"{name}  {width}x{height}{fitted}"


def result_label(recipe: Recipe) -> str:
    """Label of a result: the values a person compares."""
    strength = f"strength {recipe.strength:g}  " if recipe.strength is not None else ""
    return f"{strength}guidance {recipe.guidance_scale:g}  seed {recipe.seed}"

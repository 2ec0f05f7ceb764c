"""Results: the pictures, the recipe and the notices of a run, and how a notebook shows them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from .errors import SafetyCheckerError
from .families.parameters import number_text
from .images.contact_sheets import Cell, contact_sheet, noted, png_bytes
from .images.fidelity import Fidelity
from .images.latents import Latents
from .images.picture import Picture
from .metadata import image_files
from .metadata.provenance import Provenance
from .recipes.chain import Chain
from .recipes.comparison import compared
from .recipes.notices import before_run
from .recipes.presets import preset_of
from .recipes.recipe import Recipe
from .recipes.segmenters import selected_by
from .recipes.sizes import fitted_pictures, initial_size
from .recipes.steps import start_noise, start_text
from .recipes.summary import safety_line, weights_label
from .store import index
from .store.lineage import Lineage, given_as, trace


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
        Lines a person should read: what was done to the pictures that went in, words
        that did not fit the text encoder, what the run needed help with.
    latents
        The first picture before it was decoded, for the next step of a chain; None for
        a result that was read from a file, and for inpainting.
    chain
        The chain up to this result, where it is a step of one.
    when
        Time at which it was made, in seconds since 1970 (UTC).
    claimed_fingerprint
        What a file says in the place of a fingerprint, for people to see; None for a result that was
        made here. A result that was read from a file has an empty `fingerprint`.
    nsfw_content_detected
        For each picture whether the checkpoint's safety checker flagged it and made it
        black; empty where there is no checker.
    """

    recipe: Recipe
    images: tuple[Image.Image, ...]
    initial: Image.Image | None
    seconds: float
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    latents: Latents | None = None
    chain: Chain | None = None
    when: float = field(default_factory=time.time)
    claimed_fingerprint: Mapping[str, str] | None = None
    nsfw_content_detected: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.problem is None:
            index.remember(self)

    @property
    def problem(self) -> SafetyCheckerError | None:
        """Why it is no finished result and is kept nowhere, or None: the safety checker flagged one of its pictures."""
        return SafetyCheckerError(safety_line(self.recipe)) if any(self.nsfw_content_detected) else None

    @property
    def noise_share(self) -> float | None:
        """Share of noise that the run began with, in [0, 1]; see `recipes.steps.start_noise`. None where it is not known."""
        return start_noise(self.recipe)

    @property
    def shown_fingerprint(self) -> Mapping[str, str]:
        """The fingerprint, or what a file claims in its place."""
        return self.fingerprint if self.claimed_fingerprint is None else self.claimed_fingerprint

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
        SafetyCheckerError
            The picture was made black by the safety checker.
        """
        if self.problem is not None:
            raise self.problem
        image_files.write(self.image, path, self.provenance)
        return Path(path)

    @property
    def provenance(self) -> Provenance:
        """What a file of this result says about where it came from."""
        recipe = self.recipe
        if isinstance(recipe.image, Latents):
            # Latents are in no file: the picture that they show stands for them, and the chain says how they came about.
            recipe = recipe.replace(image=recipe.image.view)
        parents = tuple(picture.address for picture in recipe.pictures.values())
        selection = selected_by(recipe)
        return Provenance(recipe, self.fingerprint, parents, version=self.version, chain=self.chain, selection=selection)

    def lineage(self, folder: str | os.PathLike[str] | None = None) -> Lineage:
        """Trace what it was made from, and what that was made from, as far as this session, the store and files reach.

        Parameters
        ----------
        folder
            Where files are that may be among its ancestors; none are looked at when not given.

        Returns
        -------
        A tree that draws itself in a notebook.
        """
        return trace(self.image, self.provenance, index.PictureIndex(folders=() if folder is None else (folder,)))

    def compare(self, mask: Any = None) -> Fidelity:
        """Measure what the run changed of its initial picture: how much was kept, moved, drifted in colour, and shows the same.

        Parameters
        ----------
        mask
            Where it may change: a picture whose white part is meant, or a selection as `mask_image` takes them, such as
            "auto:subject"; the recipe's own mask when not given.

        Returns
        -------
        The numbers; in a notebook it shows both pictures, a map of what changed, and what the numbers mean.

        Raises
        ------
        ParameterError, ImageInputError
            There is no initial picture, or the mask cannot be had.
        NbdiffuseError
            scikit-image is not installed.
        """
        return compared(self.recipe, self.initial, self.image, mask)

    def cells(self) -> list[Cell]:
        """Return what a contact sheet shows of this result."""
        label = result_label(self.recipe)
        flagged = self.nsfw_content_detected or (False,) * len(self.images)
        labels = [f"black: flagged by the safety checker\n{label}" if black else label for black in flagged]
        return given_cells(self.recipe) + [Cell(image, text) for image, text in zip(self.images, labels, strict=True)]

    @property
    def run_notices(self) -> tuple[str, ...]:
        """The notices that only the run could tell; the others are of the recipe's prompts and pictures."""
        told = before_run(self.recipe)
        return tuple(line for line in self.notices if line not in told)

    def under(self, recipe: Recipe) -> Result:
        """Return this result under a recipe that makes the same pictures, with what is to be said of that one's pictures."""
        return replace(self, recipe=recipe, notices=(*before_run(recipe), *self.run_notices))

    def __repr__(self) -> str:
        return summary(self.recipe)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        # The text names no model, time or size: notebooks then compare equal on every checkpoint.
        return {"image/png": png_bytes(contact_sheet(self.cells())), "text/plain": repr(self)}


def summary(recipe: Recipe) -> str:
    """Name the kind of run, without anything that depends on the model or the machine."""
    given = "".join(f"{given_as(name)} | " for name in recipe.pictures)
    return f"{preset_of(recipe.model).task(recipe)}: {given}result"


def given_cells(recipe: Recipe) -> list[Cell]:
    """Return the pictures that a complete recipe starts from, as the pipeline sees them, for a contact sheet.

    One whose pixels are not at hand, as after reading a file, is left out.
    """
    gone = [name for name, picture in recipe.pictures.items() if isinstance(picture, Picture) and not picture.at_hand]
    recipe = recipe.replace(**dict.fromkeys(gone))
    return [Cell(picture, picture_label(recipe, name)) for name, picture in fitted_pictures(recipe).items()]


def picture_label(recipe: Recipe, name: str) -> str:
    """Label of a picture that a complete recipe starts from: its name, and how it was fitted."""
    picture = recipe.pictures[name]
    width, height = initial_size(recipe)
    fitted = "" if picture.size == (width, height) else f" > {width}x{height}"
    return f"{picture.label or given_as(name)}  {picture.size[0]}x{picture.size[1]}{fitted}"


def result_label(recipe: Recipe) -> str:
    """Label of a result: the values a person compares, then the weights that made it."""
    # The share of noise stands below: with it the line is wider than a picture, and its end would be cut off.
    first, _, share = start_text(recipe).partition("  ")
    start, noise = f"{first}  " if first else "", f"{share}  " if share else ""
    guidance = "" if recipe.guidance_scale is None else f"guidance {number_text(recipe.guidance_scale)}  "
    kept = recipe.get("image_guidance_scale")
    image = "" if kept is None else f"image guidance {number_text(kept)}  "
    return f"{start}{guidance}seed {recipe.seed}\n{noise}{image}{weights_label(recipe)}"

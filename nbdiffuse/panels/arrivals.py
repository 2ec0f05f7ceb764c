"""Files that arrive in a panel: what they say about how they were made."""

from __future__ import annotations

import io
from dataclasses import dataclass

from ..errors import NbdiffuseError
from ..images.intake import open_header
from ..images.latents import Latents
from ..images.picture import Picture
from ..metadata import a1111
from ..metadata.image_files import CHUNK, LARGEST_TEXT, OTHERS, read
from ..metadata.provenance import Provenance
from ..recipes.completion import settable
from ..recipes.recipe import Recipe
from ..results import Result


@dataclass(frozen=True)
class Arrival:
    """What a file that carries settings brings.

    Parameters
    ----------
    recipe
        Settings for the controls.
    result
        The file's picture as a past result, where the file is one of ours.
    lines
        What a person should know: what could not be carried over.
    """

    recipe: Recipe
    result: Result | None
    lines: tuple[str, ...]


def arrival_of(name: str, content: bytes) -> Arrival | None:
    """Read the settings that a picture file carries, or return None where it carries none.

    Parameters
    ----------
    name
        Of the file, to show.
    content
        Of a PNG, JPEG or WebP file; others carry none.

    Raises
    ------
    FileError, ParameterError, ImageInputError
        There are settings, and they cannot be used.
    """
    try:
        image = open_header(io.BytesIO(content), ("PNG", "JPEG", "WEBP"))
    except Exception:  # Pillow's parsers raise many types; that it is no picture is told when it is taken in.
        return None
    with image:
        # Too much to be settings: the picture is one all the same.
        if any(len(str(image.info.get(name, ""))) > LARGEST_TEXT for name in (CHUNK, "parameters", *OTHERS)):
            return None
        said = read(image)
    if said.provenance is not None:
        return _ours(name, content, said.provenance)
    if said.parameters is not None and a1111.looks_like_generation_text(said.parameters):
        parsed = a1111.parse(said.parameters)
        recipe = Recipe(**parsed.values, image=Picture.of(content, label=name))
        can_be_set = settable(recipe)
        untaken = [field for field in parsed.values if field not in can_be_set]
        lines = [f"Not carried over: {field} is not taken by {recipe.model}." for field in untaken]
        told = f"The settings are those of {name}; its picture is the initial image."
        return Arrival(recipe.replace(**dict.fromkeys(untaken)), None, (told, *parsed.left_out, *lines))
    return None


def _ours(name: str, content: bytes, provenance: Provenance) -> Arrival:
    image = Picture.of(content, label=name).image
    missing = [field for field, picture in provenance.recipe.pictures.items() if not _is_here(picture)]
    recipe = provenance.recipe.replace(**dict.fromkeys(missing))
    told = [f"The settings are those of {name}; its picture stands below."]
    told += [f"Its {field} is not in memory: give it again." for field in missing]
    if "image" in missing:
        # What needs an initial picture waits in the recipe until there is one.
        recipe = recipe.replace(**dict.fromkeys(("strength", "resize_mode", "mask_image")))
        for net, picture in (("controlnet", "control_image"), ("controlnet_2", "control_image_2")):
            recipe = recipe.replace(**dict.fromkeys((net, picture))) if picture in missing else recipe
    can_be_set = settable(recipe)
    recipe = recipe.replace(**{field: None for field in recipe.to_dict() if field not in can_be_set})
    result = Result(provenance.recipe, (image,), None, 0.0, provenance.fingerprint)
    return Arrival(recipe, result, tuple(told))


def _is_here(picture: Picture | Latents) -> bool:
    try:
        return bool(picture.size)
    except NbdiffuseError:
        return False

"""Dropped files: the settings that a file brings which was dropped on a panel."""

from __future__ import annotations

from dataclasses import dataclass

from ... import embedded
from ...cells.from_file import ParsedFile, read_if_said
from ...errors import FileError, ImageInputError, NbdiffuseError, breaks_rule
from ...images.latents import Latents
from ...images.picture import Picture
from ...metadata.image_files import ForeignTextError
from ...metadata.provenance import Provenance
from ...recipes.presets import is_named
from ...recipes.recipe import Recipe
from ...recipes.resolve import open_fields
from ...recipes.taken_fields import settable
from ...results import Result
from ...runs.consent import words_of


@dataclass(frozen=True)
class DroppedFile:
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


def dropped_file(name: str, content: bytes) -> DroppedFile | None:
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
        There are settings of ours, and they cannot be used.
    """
    try:
        reading = read_if_said(content, name)
    except (ImageInputError, ForeignTextError):
        # That it is no picture is told when it is taken in; one with settings that nobody can read is a picture.
        return None
    if reading is None:
        return None
    return _ours(name, content, reading.provenance) if reading.provenance is not None else _theirs(name, content, reading)


def _theirs(name: str, content: bytes, reading: ParsedFile) -> DroppedFile:
    """Take over what another tool says; the file's picture is redrawn with it."""
    recipe = reading.recipe.replace(image=Picture.of(content, label=name))
    if not is_named(recipe.model):
        raise FileError(breaks_rule("model", f"the name of a preset in {name}", recipe.model, "Set it by hand."))
    can_be_set = settable(recipe)
    untaken = [field for field in reading.recipe.values() if field not in can_be_set]
    lines = [f"The settings are those of {name}; its picture is the initial image."]
    if reading.earlier:
        lines.append(f"They are those of the last of {len(reading.earlier) + 1} passes; `%diffuse read` shows all.")
    lines += [*reading.left_out, *(f"Not carried over: {field} is not taken by {recipe.model}." for field in untaken)]
    return DroppedFile(recipe.replace(**dict.fromkeys(untaken)), None, tuple(lines))


def _ours(name: str, content: bytes, provenance: Provenance) -> DroppedFile:
    image = Picture.of(content, label=name).image
    lacking = open_fields(provenance.recipe)
    if lacking:
        raise FileError(f"{name} does not say all that a run needs: {', '.join(lacking)} is missing. Set it by hand.")
    missing = [field for field, picture in provenance.recipe.pictures.items() if not _is_here(picture)]
    recipe = provenance.recipe.replace(**dict.fromkeys(missing))
    told = [f"The settings are those of {name}; its picture stands below.", *provenance.left_out]
    foreign = [word for word in words_of(provenance.recipe) if not embedded.holds(word)]
    if foreign:
        told.append(f"Run takes its weights, {' and '.join(foreign)}, from the hub or from this disk.")
    told += [f"Its {field} is not in memory: give it again." for field in missing]
    if "image" in missing:
        # What needs an initial picture waits in the recipe until there is one.
        recipe = recipe.replace(**dict.fromkeys(("strength", "noise", "resize_mode", "mask")))
        recipe = recipe.replace(controlnets=[net for net in recipe.controlnets if net.image is not None])
    can_be_set = settable(recipe)
    recipe = recipe.replace(**{field: None for field in recipe.values() if field not in can_be_set})
    result = Result(provenance.recipe, (image,), None, 0.0, claimed_fingerprint=provenance.fingerprint)
    return DroppedFile(recipe, result, tuple(told))


def _is_here(picture: Picture | Latents) -> bool:
    try:
        return bool(picture.size)
    except NbdiffuseError:
        return False

"""The program of a loopback: one loop over its passes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import colors, script_calls, script_loading, script_weighting
from .images import Picture
from .listing import Listing
from .script_writing import Script, refuse_what_no_program_says, size_remark
from .statements import literal

if TYPE_CHECKING:
    from .loopback import Loopback


def of_loopback(loop: Loopback, machine: Mapping[str, str], *, own_folder: bool = False, name: str = "pass") -> Script:
    """Write the program that makes the same passes, a picture for each.

    Parameters
    ----------
    loop
        Run or not.
    machine
        As for `script_writing.Step`.
    own_folder, name
        As for `script_writing.of_steps`; the passes are numbered.

    Raises
    ------
    ParameterError
        A pass has a field that no program says.
    """
    first = loop.recipes[0]
    refuse_what_no_program_says(first)
    listing = Listing(own_folder)
    script_loading.load(listing, first, machine)
    listing.section(size_remark(first))
    opened = {field: picture for field, picture in first.pictures.items() if isinstance(picture, Picture)}
    script_calls.open_pictures(listing, first, opened)
    embeddings = script_weighting.embed(listing, first) if script_weighting.weighs(first) else None
    corrected = loop.color_correction == "lab"
    if corrected:
        _add_correction(listing)
    listing.section("Each pass redraws what the one before made.")
    _add_values(listing, "strengths", [recipe.strength for recipe in loop.recipes])
    seed = first.seed or 0
    listing.add(f"image = {script_calls.VARIABLES['image']}")
    listing.add("for number, strength in enumerate(strengths):")
    sources = {**script_calls.picture_sources(first), "image": "image"}
    lines = script_calls.arguments(first, sources, {"strength": "strength"}, embeddings)
    script_calls.run(listing, lines, f"{seed} + number", indent="    ")
    if corrected:
        listing.add(f"    image = toward(image, {script_calls.VARIABLES['image']})")
    stem = literal(name.replace("{", "{{").replace("}", "}}"))
    listing.add(f"    image.save(f{stem[:-1]}-{{number:02d}}.png{stem[-1]})")
    results = tuple(f"{name}-{number:02d}.png" for number in range(len(loop.recipes)))
    return Script(listing.text("A loopback with diffusers."), listing.pictures, results)


def _add_correction(listing: Listing) -> None:
    """Add the functions that hold the colours, as this package has them."""
    listing.use("numpy as np")
    listing.use("typing", "Any")
    listing.use("PIL", "Image", "ImageCms")
    for function in (colors.lab, colors.toward):
        listing.add("", "", *inspect.getsource(function).rstrip().splitlines())
    listing.add("")


def _add_values(listing: Listing, name: str, values: Sequence[object]) -> None:
    listing.add(f"{name} = {literal(list(values))}")

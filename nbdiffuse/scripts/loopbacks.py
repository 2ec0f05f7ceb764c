"""The program of a loopback: one loop over its passes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..images import colors
from ..images.picture import Picture
from . import calls, loading, masks, noise, weighting
from .listing import Listing
from .statements import call, literal
from .writing import Script, refuse_what_no_program_says, size_remark

if TYPE_CHECKING:
    from ..runs.loopback import Loopback


def of_loopback(loop: Loopback, machine: Mapping[str, str], *, own_folder: bool = False, name: str = "pass") -> Script:
    """Write the program that makes the same passes, a picture for each.

    Parameters
    ----------
    loop
        Run or not.
    machine
        As for `writing.Step`.
    own_folder, name
        As for `writing.of_steps`; the passes are numbered.

    Raises
    ------
    ParameterError
        A pass has a field that no program says.
    """
    first = loop.recipes[0]
    refuse_what_no_program_says(first)
    listing = Listing(own_folder)
    loading.load(listing, first, machine)
    listing.section(size_remark(first))
    opened = {field: picture for field, picture in first.pictures.items() if isinstance(picture, Picture)}
    calls.open_pictures(listing, first, opened)
    embeddings = weighting.embed(listing, first) if first.weighs else None
    corrected = loop.color_correction == "lab"
    if corrected:
        _add_correction(listing)
    listing.section("Each pass redraws what the one before made.")
    noise.begin(listing, first)
    alike = first.noise is not None
    if not alike:
        _add_values(listing, "strengths", [recipe.strength for recipe in loop.recipes])
    seed = first.seed or 0
    listing.add(f"image = {calls.VARIABLES['image']}")
    sources = {**calls.picture_sources(first), "image": "image"}
    called, overlay = masks.put_content(listing, first, sources), masks.lay_over(listing, first, sources)
    listing.add(f"for number in range({len(loop.recipes)}):" if alike else "for number, strength in enumerate(strengths):")
    lines = calls.arguments(first, called, {} if alike else {"strength": "strength"}, embeddings)
    calls.run(listing, first, lines, f"{seed} + number", indent="    ", overlay=overlay)
    if corrected:
        listing.add(f"    image = toward(image, {calls.VARIABLES['image']})")
        if first.keeps_pixels:
            kept = calls.VARIABLES["image"], overlay[1] if overlay else calls.VARIABLES["mask_image"]
            listing.add(*call("image = Image.composite", ["image", *kept], indent="    "))
    if first.mask is not None and first.mask.hides:
        listing.add("    # Only the first pass has something else under its mask.")
        listing.add(f"    {called['image']} = image", *(["    hidden = None"] if first.mask.hides_latents else []))
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

"""How a plain diffusers program shapes a mask, has it act on pixels and latents, and puts back what it keeps."""

from __future__ import annotations

from collections.abc import Mapping

from ..images import latent_masks
from ..images.mask_content import GREY, filled
from ..images.mask_edges import FEATHER, STEEP, feathered
from ..recipes.parts import Mask
from ..recipes.recipe import Recipe
from ..recipes.sizes import initial_size
from .listing import Listing
from .statements import call, literal


def shape(listing: Listing, mask: Mask, name: str, source: str) -> None:
    """Write the lines that invert, grow and blur a mask, as `mask_shapes.shaped` does."""
    listing.add(f'{name} = {source}.convert("L")')
    if mask.invert:
        listing.use("PIL", "ImageOps")
        listing.add(f"{name} = ImageOps.invert({name})")
    if mask.grow:
        listing.use("PIL", "ImageFilter")
        listing.add(f"for _ in range({abs(mask.grow)}):")
        listing.add(f"    {name} = {name}.filter(ImageFilter.{'Max' if mask.grow > 0 else 'Min'}Filter(3))")
    if mask.blur:
        listing.use("PIL", "ImageFilter")
        listing.add(f"{name} = {name}.filter(ImageFilter.GaussianBlur({literal(mask.blur)}))")


def put_content(listing: Listing, recipe: Recipe, sources: Mapping[str, str]) -> Mapping[str, str]:
    """Write the lines that put something else under a complete recipe's mask, or have it redraw by levels.

    Returns
    -------
    Mapping of str to str
        `sources` as the call gets them: what the mask keeps is taken from the picture and the mask themselves.
    """
    mask = recipe.mask
    if mask is None or not (mask.hides or mask.differential):
        return sources
    image, over = sources["image"], sources["mask_image"]
    listing.use("PIL", "Image")
    if mask.differential:
        listing.use("numpy as np")
        listing.use("typing", "Any")
        listing.define(latent_masks.differential)
        listing.add(f"levels, on_step_end = differential({over}, pipeline.vae_scale_factor)")
        return {**sources, "mask_image": "levels"}
    if mask.hides_latents:
        _put_latents(listing, recipe, image, over)
        return {**sources, "image": "start"}
    if mask.crop is not None:
        listing.add("# The pipeline blends the soft edge with what it is given: the picture has to be there.")
        listing.add(f"whole = {over}.point(lambda value: 255 if value == 255 else 0)")
        over = "whole"
    if mask.content == "fill":
        listing.use("PIL", "ImageFilter", "ImageOps")
        listing.define(filled)
        listing.add(f"start = filled({image}, {over})")
        return {**sources, "image": "start"}
    if mask.content == "noise":
        listing.use("numpy as np")
        width, height = initial_size(recipe)
        listing.add(f"pixels = np.random.RandomState({(recipe.seed or 0) % 2**32}).bytes({3 * width * height})")
        listing.add(f'hidden = Image.frombytes("RGB", {image}.size, pixels)')
    else:
        listing.add(f'hidden = Image.new("RGB", {image}.size, {literal((GREY, GREY, GREY))})')
    listing.add(f"start = Image.composite(hidden, {image}, {over})")
    return {**sources, "image": "start"}


def _put_latents(listing: Listing, recipe: Recipe, image: str, over: str) -> None:
    listing.use("torch")
    listing.use("typing", "Any")
    listing.define(latent_masks.hidden_latents)
    listing.add(f'generator = torch.Generator("cpu").manual_seed({recipe.seed or 0})')
    noise = "None"
    if recipe.get("mask_content") == "latent_noise":
        noise = "lambda shape: torch.randn(shape, generator=drawn)"
        listing.add(f'drawn = torch.Generator("cpu").manual_seed({recipe.seed or 0})')
    listing.add(*call("start = hidden = hidden_latents", ["pipeline", image, over, noise, "generator"]))


def call_lines(recipe: Recipe) -> list[str]:
    """Return the arguments of the call that go with `put_content`, besides pictures."""
    mask = recipe.mask
    if mask is not None and mask.differential:
        return ["callback_on_step_end=on_step_end", 'callback_on_step_end_tensor_inputs=["mask"]']
    return ["masked_image_latents=hidden"] if mask is not None and mask.hides_latents else []


def lay_over(listing: Listing, recipe: Recipe, sources: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variables that hold what a complete recipe's mask keeps and where it does; None where nothing is put back."""
    mask = recipe.mask
    if mask is None or not mask.is_laid_over:
        return None
    edge = sources["mask_image"]
    if mask.differential:
        listing.add(f"edge = {edge}.point(lambda value: min(255, {STEEP} * value))")
        edge = "edge"
    if mask.overlay == "feather":
        listing.use("numpy as np")
        listing.use("PIL", "Image", "ImageFilter")
        listing.define(feathered)
        listing.add(f"edge = feathered({edge}, {FEATHER})")
        edge = "edge"
    return sources["image"], edge

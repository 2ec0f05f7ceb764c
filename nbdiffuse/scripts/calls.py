"""How a plain diffusers program brings pictures to size and calls a pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..families.diffusers_classes import call_defaults
from ..families.number_lists import called_value
from ..images.fitting import crop_box, pad_place
from ..images.noise import slerp, turn_added_noise
from ..images.picture import Picture
from ..recipes.fields import first_name
from ..recipes.noise_start import called_strength
from ..recipes.presets import preset_of
from ..recipes.recipe import PROMPTS, Recipe
from ..recipes.resolve import call_fields
from ..recipes.sizes import initial_size, keeps_own_size, lies_over, resample_of
from ..recipes.steps import real_steps
from . import adapters, masks
from .listing import Listing
from .statements import call, exploded, literal

VARIABLES = {
    "ip_adapter_mask": "style_mask",
    "image": "initial",
    "mask_image": "mask",
    "control_image": "control",
    "image_reference": "reference",
    "ip_adapter_image": "style",
}
"""What a program calls the pictures that a recipe starts from; those of further parts have a number behind it."""


def variable_of(field: str) -> str:
    """Return the Python name that a program has for a field's value."""
    number = re.search(r"\.([0-9]+)", field)
    return VARIABLES.get(first_name(field), first_name(field)) + (f"_{number[1]}" if number else "")


def open_pictures(listing: Listing, recipe: Recipe, pictures: Mapping[str, Picture]) -> None:
    """Write the lines that open pictures of a complete recipe, by field, and bring them to the run's size."""
    for field, picture in pictures.items():
        bring_to_size(listing, recipe, field, variable_of(field), listing.opened(picture, variable_of(field)))


def bring_to_size(listing: Listing, recipe: Recipe, field: str, name: str, opened: str = "") -> None:
    """Write the lines that bring one picture of a complete recipe to the run's size, as `fitting.fit` does.

    Parameters
    ----------
    listing
        Gets the lines; none where the picture has the size already.
    recipe
        Complete.
    field
        Which picture.
    name
        Variable that holds it afterwards.
    opened
        Source of the picture; the variable when empty.
    """
    size, own, over = initial_size(recipe), recipe.pictures[field].size, lies_over(recipe, field)
    if field == "mask_image" and recipe.mask is not None and recipe.mask.is_shaped:
        masks.shape(listing, recipe.mask, name, opened or name)
        opened = ""
    source = opened or name
    to_grey = '.convert("L")' if field == "mask_image" else ""
    resample = f"Image.Resampling.{resample_of(recipe, field).name}"
    if own == size or keeps_own_size(field):
        listing.add(*([f"{name} = {source}{to_grey}"] if opened else []))
        return
    listing.use("PIL", "Image")
    if recipe.resize_mode == "crop":
        listing.add(*([f"{name} = {source}"] if opened else []))
        box = f"box={literal(crop_box(own, size, over))}"
        listing.add(*call(f"{name} = {name}.resize", [literal(size), resample, box], to_grey))
    elif recipe.resize_mode == "pad":
        inner, corner = pad_place(over or own, size)
        listing.add(*call(f"inner = {source}.resize", [literal(inner), resample]))
        listing.add(f'{name} = Image.new("RGB", {literal(size)}, "white")')
        listing.add(f"{name}.paste(inner, {literal(corner)})")
        listing.add(*([f"{name} = {name}{to_grey}"] if to_grey else []))
    else:
        # A call with something behind it is one line, as the formatter wants it.
        listing.add(*([f"{name} = {source}"] if opened and to_grey else []))
        listing.add(*call(f"{name} = {name if to_grey else source}.resize", [literal(size), resample], to_grey))


def arguments(
    recipe: Recipe, given: Mapping[str, str], varied: Mapping[str, str] | None = None, embeddings: Mapping[str, str] | None = None
) -> list[str]:
    """Return the arguments of a complete recipe's call as source; what equals the pipeline's own default is left out.

    Parameters
    ----------
    recipe
        Complete.
    given
        Source for its pictures, by field.
    varied
        Source that stands in for the values of other fields, such as the variable of a loop.
    embeddings
        Arguments that stand in for the prompts, where these are weighted.
    """
    varied = varied or {}
    defaults = call_defaults(preset_of(recipe.model).pipeline(recipe))
    # The prompt stands by its place where it comes first, as in nearly every call.
    by_place = "prompt" if next(iter(defaults)) == "prompt" else ""
    lines: list[str] = []
    for name, fields in _in_order(call_fields(recipe, defaults)).items():
        field, value = fields[0], recipe.get(fields[0])
        if name == "ip_adapter_image":
            lines.append(f"{name}={adapters.shown_pictures(recipe, {**given, **varied})}")
        elif len(fields) > 1:
            lines += _list(name, fields, recipe, {**given, **varied}, defaults.get(name))
        elif field in given:
            lines.append(f"{name}={given[field]}")
        elif embeddings is not None and field in PROMPTS:
            continue
        elif field in varied:
            lines.append(varied[field] if name == by_place else f"{name}={varied[field]}")
        elif name == "prompt":
            lines.append(literal(value) if name == by_place else f"{name}={literal(value)}")
        elif field == "noise":
            lines.append(f"{name}={literal(called_strength(recipe))}{_remark(recipe, name, varied)}")
        elif field == "negative_prompt":
            lines += [f"{name}={literal(value)}"] if value else []
        elif value != defaults.get(name):
            lines.append(f"{name}={literal(called_value(name, value))}{_remark(recipe, name, varied)}")
    constants = preset_of(recipe.model).constants(recipe.width or 0, recipe.height or 0)
    lines += [f"{name}={literal(value)}" for name, value in constants.items() if value != defaults.get(name)]
    lines += [f"{name}={source}" for name, source in (embeddings or {}).items()]
    return lines + masks.call_lines(recipe)


def _list(name: str, fields: Sequence[str], recipe: Recipe, sources: Mapping[str, str], default: Any) -> list[str]:
    """Return the argument that gives one value for each part; the pipeline repeats a single one itself."""
    values = [recipe.get(field) for field in fields]
    if not set(fields) & set(sources) and len(set(values)) == 1:
        return [] if values[0] == default else [f"{name}={literal(values[0])}"]
    return [f"{name}=[{', '.join(sources.get(field) or literal(value) for field, value in zip(fields, values, strict=True))}]"]


def _in_order(fields: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Put the prompt first, then the pictures, as diffusers' documentation does."""
    first = ("prompt", "image", "mask_image", "control_image")
    return {
        name: fields[name] for name in (*(one for one in first if one in fields), *(one for one in fields if one not in first))
    }


def _remark(recipe: Recipe, name: str, varied: Mapping[str, str]) -> str:
    if name == "strength" and not {"strength", "num_inference_steps"} & set(varied):
        return f"  # runs the last {real_steps(recipe)} of {recipe.num_inference_steps} steps"
    if name == "height" and preset_of(recipe.model).size_arguments.get("height") == "width" and recipe.width != recipe.height:
        return "  # Kandinsky's image processor takes the two sides in the other order"
    return ""


def generator(seed: str, recipe: Recipe) -> str:
    """Return the source of a generator; one on the CPU draws the same noise on every device."""
    # Where the pipeline draws with torch's own generator as well, it is that one.
    made = "torch" if preset_of(recipe.model).unseeded(recipe) else 'torch.Generator("cpu")'
    return f"generator={made}.manual_seed({seed})"


def run(
    listing: Listing,
    recipe: Recipe,
    lines: list[str],
    seed: str,
    target: str = "image",
    indent: str = "",
    overlay: tuple[str, str] | None = None,
    drawn: bool = False,
) -> None:
    """Write the pipeline's call.

    Parameters
    ----------
    listing
        Gets the lines.
    recipe
        Complete.
    lines
        From `arguments`.
    seed, target
        Source of the seed, and the variable that holds what the call makes.
    indent
        Blanks before every line.
    overlay
        From `masks.lay_over`: the variables of the initial picture and of the mask.
    drawn
        Whether `turned_noise` stands before it, whose generator goes on.
    """
    listing.use("torch")
    added = recipe.variation is not None and not drawn
    lines = [*lines, "latents=latents", "generator=generator"] if drawn else [*lines, generator(seed, recipe)]
    made = target if overlay is None else "redrawn"
    listing.add(*exploded(f"{made} = pipeline", lines, ".images[0]", indent))
    if added:
        listing.add(f"{indent}del pipeline.scheduler.add_noise")
    if overlay is not None:
        # As `masks.overlay` does.
        listing.use("PIL", "Image")
        listing.add(f"{indent}# What is black in the mask stays byte for byte as it was.")
        listing.add(*call(f"{target} = Image.composite", [made, *overlay], indent=indent))


def define_slerp(listing: Listing, recipe: Recipe) -> None:
    """Write the function that turns noise, where a complete recipe needs it; before a loop that calls it."""
    if recipe.variation is not None:
        listing.define(slerp)
        listing.use("typing", "Any")
        if recipe.task != "txt2img":
            listing.define(turn_added_noise)


def turned_noise(listing: Listing, recipe: Recipe, indent: str = "", decoded: bool = True) -> bool:
    """Write the lines that turn a complete recipe's noise towards that of its variation.

    Parameters
    ----------
    listing, recipe, indent
        As for `run`.
    decoded
        Whether the initial picture, if there is one, is a picture, and not latents.

    Returns
    -------
    bool
        Whether they stand as `latents`, for the call; with a picture its scheduler turns what it adds.
    """
    if recipe.variation is None:
        return False
    define_slerp(listing, recipe)
    listing.use("torch")
    if recipe.task != "txt2img":
        values = [literal(recipe.get("variation_strength")), literal(recipe.get("variation_seed")), f"encoded={decoded}"]
        listing.add(f"{indent}# The noise of the seed is turned towards that of another one.")
        listing.add(*call("turn_added_noise", ["pipeline.scheduler", *values], indent=indent))
        return False
    sides = f"{recipe.height} // pipeline.vae_scale_factor, {recipe.width} // pipeline.vae_scale_factor"
    drawn = "torch.randn(shape, generator={}, dtype=pipeline.unet.dtype)[0]"
    other = f'torch.Generator("cpu").manual_seed({recipe.get("variation_seed")})'
    lines = (
        "# The noise of the seed, turned towards that of another one.",
        f'generator = torch.Generator("cpu").manual_seed({recipe.seed})',
        f"shape = (1, pipeline.unet.config.in_channels, {sides})",
        f"noise = {drawn.format('generator')}",
        f"other = {drawn.format(other)}",
        f"latents = slerp({literal(recipe.get('variation_strength'))}, noise, other)[None]",
    )
    listing.add(*(indent + line for line in lines))
    return True


def picture_sources(recipe: Recipe) -> dict[str, str]:
    """Return the variables that hold a recipe's pictures, by field."""
    return {field: variable_of(field) for field, one in recipe.pictures.items() if isinstance(one, Picture)}

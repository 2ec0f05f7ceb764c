"""Notices of a recipe: what a person should know of its prompts and pictures, known before it runs."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageChops

from ..images.latents import Latents
from ..images.picture import Picture
from ..prompts import dialects
from ..prompts.unknown_words import unknown_words
from .presets import PRESETS, preset_of
from .recipe import PROMPTS, Recipe

FIT = {"fit": "stretched", "crop": "cut", "pad": "padded"}
"""What becomes of a picture of another shape, by `resize_mode`."""
_EQUAL = 0.02
"""Part by which two shapes may differ: what sizes are rounded to differs by as much."""
_GREY = 24
"""Difference between the channels of one pixel, of 255, up to which it is grey: JPEG gives grey pixels a tint."""


def before_run(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know of a complete recipe's prompts and pictures, one line each.

    The lines are those that its results carry, so every surface can show them.
    """
    return (*_trigger(recipe), *_weighting(recipe), *_unknown(recipe), *picture_notices(recipe))


def picture_notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what was done to the pictures of a complete recipe that went in, each line with its field."""
    lines = [f"`{field}`: {line}" for field, picture in recipe.pictures.items() for line in picture.notices]
    return (*lines, *_shapes(recipe), *_colors(recipe))


def _trigger(recipe: Recipe) -> list[str]:
    preset = preset_of(recipe.model)
    if not preset.trigger or preset.trigger.lower() in recipe.prompt.lower():
        return []
    return [f'{preset.name} draws its style where the prompt says "{preset.trigger}", and this one does not.']


def _weighting(recipe: Recipe) -> list[str]:
    if recipe.weighting is None:
        return []
    hints = (dialects.hint(recipe.weighting, getattr(recipe, name) or "") for name in PROMPTS)
    return list(dict.fromkeys(line for line in hints if line))


def _unknown(recipe: Recipe) -> list[str]:
    """Say what the embedded checkpoint cannot draw; a LoRA over it may know more."""
    if recipe.lora or not any(recipe.checkpoint == preset.tiny.checkpoint for preset in PRESETS.values()):
        return []
    found = dict.fromkeys(word for name in ("prompt", "prompt_2") for word in unknown_words(getattr(recipe, name) or ""))
    if not found:
        return []
    shown = ", ".join(f'"{word}"' for word in list(found)[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    way_out = "Full-size models draw it: `%diffuse use hub`, or `--checkpoint` with a hub id or a directory."
    return [f"The small checkpoint {recipe.checkpoint} was never shown {shown}{more}, and draws something else. {way_out}"]


def _at_hand(picture: Picture | Latents | None) -> bool:
    return picture is not None and (isinstance(picture, Latents) or picture.at_hand)


def _shapes(recipe: Recipe) -> list[str]:
    """Say which pictures have another shape than the one that is redrawn."""
    first = recipe.image
    if not _at_hand(first):
        return []
    lines = []
    for field, picture in recipe.pictures.items():
        if field == "image" or not _at_hand(picture):
            continue
        (width, height), (wide, high) = picture.size, first.size
        if abs(width * high / (height * wide) - 1) > _EQUAL:
            done = FIT[recipe.resize_mode or "fit"]
            lines.append(f"`{field}`: {width}x{height} is another shape than the picture's {wide}x{high}, so it is {done}")
    return lines


def _colors(recipe: Recipe) -> list[str]:
    mask = recipe.mask_image
    if not isinstance(mask, Picture) or not mask.at_hand or not _colored(mask.address):
        return []
    return ["`mask_image`: it has colours, of which only the brightness counts: white is redrawn, black stays"]


@lru_cache(maxsize=64)
def _colored(address: str) -> bool:
    image = Picture(address).image
    # Every pixel of a small copy stands for one of the picture, so that no mixture of colours looks grey.
    image.thumbnail((512, 512), Image.Resampling.NEAREST)
    red, green, blue = image.split()
    pairs = (ImageChops.difference(one, other) for one, other in ((red, green), (green, blue), (red, blue)))
    return any(int(pair.getextrema()[1]) > _GREY for pair in pairs)  # type: ignore[arg-type]  # one channel has one pair

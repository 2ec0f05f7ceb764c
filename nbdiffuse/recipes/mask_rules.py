"""Rules that the mask of a recipe must keep."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..images.latents import Latents
from ..images.mask_content import PIXELS
from ..images.mask_selection import ALPHA, modelled, select
from ..images.masks import DIM, EMPTY, FULL, extent_notices
from ..images.outpainting import SIDES, extended, margins
from ..images.picture import Picture
from .fields import names_of
from .parts import Mask
from .presets import preset_of
from .recipe import Recipe
from .segmenters import segmented
from .sizes import fitted_picture


def check_mask(recipe: Recipe) -> None:
    """Raise `ParameterError` where something is said of a mask and there is none."""
    mask = recipe.mask
    if mask is not None and mask.extend is not None and mask.image is not None:
        raise ParameterError("`mask_image` and `extend` cannot be combined: what is extended has its own mask. Leave one out.")
    if mask is not None:
        _check_latents(recipe, mask)
    if mask is None or mask.image is not None or mask.extend is not None:
        return
    given = next(name for name in names_of("mask") if recipe.get(name) is not None)
    raise ParameterError(f"`mask_image` must be given with `{given}`. Leave `{given}` out where nothing is masked.")


def _check_latents(recipe: Recipe, mask: Mask) -> None:
    """Raise where a mask is to act on latents, and the pipeline cannot have it, or something else is asked of it."""
    if not mask.hides_latents and not mask.differential:
        return
    preset = preset_of(recipe.model)
    named, value = ("mask_content", f" {mask.content}") if mask.hides_latents else ("mask_differential", "")
    said = f"`{named}`{value} cannot be combined with"
    if mask.differential and mask.hides:
        raise ParameterError(f"`mask_differential` cannot be combined with `mask_content` {mask.content}. Leave one out.")
    if mask.crop is not None:
        way_out = " `mask_content` noise can." if mask.hides_latents else ""
        raise ParameterError(f"{said} `mask_crop`. Leave one out.{way_out}")
    beside = "a ControlNet" if recipe.controlnets else "perturbed-attention guidance"
    if preset.masks_latents and preset.mode(recipe) not in preset.masks_latents:
        raise ParameterError(f"{said} {beside}: diffusers' pipeline takes no latents there. Leave one out.")
    if not preset.masks_latents:
        rule = f"one of {', '.join(PIXELS)} for {preset.name} ({preset.title})"
        raise ParameterError(breaks_rule("mask_content", rule, str(mask.content)))


def check_channels(recipe: Recipe, channels: int | None) -> None:
    """Raise where a mask is to act on the latents of a UNet that is given the mask itself."""
    mask = recipe.mask
    if mask is None or channels in (None, 4) or not (mask.hides_latents or mask.differential):
        return
    named = "mask_content" if mask.hides_latents else "mask_differential"
    raise ParameterError(
        f"`{named}` must be left out for {recipe.checkpoint}, whose UNet takes {channels} channels and sees what the mask keeps. "
        + ("`mask_content` noise works." if mask.hides_latents else "Use `mask_blur`.")
    )


def with_selected_mask(recipe: Recipe, image: Any) -> Recipe:
    """Return a recipe with its mask's own pixels where it says how to select them.

    Parameters
    ----------
    recipe
        Any recipe.
    image
        Its initial picture; None where a step before makes that, and the selection stays.
        What a model has to find stays, too: `with_found_mask` has it found.

    Raises
    ------
    ParameterError
        Nothing can be selected.
    """
    text = recipe.get("mask_image")
    if not isinstance(text, str) or modelled(text) is not None:
        return recipe
    if image is None:
        if text == ALPHA:
            raise ParameterError(
                f"`mask_image` must be a picture or a colour in a later step, got {ALPHA!r}. No step makes transparency."
            )
        return recipe
    return recipe.replace(mask_image=select(image.view if isinstance(image, Latents) else image, text))


def with_found_mask(complete: Recipe) -> Recipe:
    """Return a complete recipe with its mask's own pixels where a model has to find them in its initial picture.

    Raises
    ------
    ParameterError
        Nothing is found, or the model does not know the word.
    """
    text, image = complete.get("mask_image"), complete.image
    if modelled(text) is None or image is None:
        return complete
    picture = image.view if isinstance(image, Latents) else image
    found = complete.replace(mask_image=segmented(picture, text, str(complete.checkpoint)))
    found = told_of_mask(found)
    check_fitted_mask(found)
    return found


def with_canvas(complete: Recipe, multiple: int) -> Recipe:
    """Return a complete recipe whose picture is on the canvas that `extend` asks for, with the mask of what is new.

    Raises
    ------
    ParameterError
        Nothing would be added, too much, or what is no multiple of `multiple`.
    """
    text, image = complete.get("extend"), complete.image
    if text is None:
        return complete
    if not isinstance(image, Picture):
        raise ParameterError("`image` must be a picture with `extend`, got latents. Give the decoded picture: `result.image`.")
    whole = fitted_picture(complete.replace(extend=None, mask_crop=None), "image")
    added = margins(text, whole.size, multiple)
    canvas, mask = extended(whole, added)
    sides = ", ".join(f"{side} {pixels}" for side, pixels in zip(SIDES, added, strict=True) if pixels)
    line = f"extended by {sides} pixels from {whole.width}x{whole.height}: {canvas.width}x{canvas.height} is made"
    picture = Picture.of(canvas, image.label)
    picture = dataclasses.replace(picture, notices=(*image.notices, line))
    return complete.replace(
        extend=None, image=picture, mask_image=Picture.of(mask, "what is new"), width=canvas.width, height=canvas.height
    )


def told_of_mask(complete: Recipe) -> Recipe:
    """Return a complete recipe whose mask says whether it redraws nothing or everything, as the pipeline gets it.

    What is inverted, grown or blurred redraws something else, a thin line may be gone in a
    smaller size, and what lies outside of a picture that is cropped is not there.
    """
    mask = complete.mask
    if mask is None or not isinstance(mask.image, Picture) or not mask.image.at_hand or not _is_at_hand(complete.image):
        return complete
    lines = tuple(line for line in mask.image.notices if line not in (EMPTY, DIM, FULL))
    lines += extent_notices(fitted_picture(complete, "mask_image"))
    told = dataclasses.replace(mask.image, notices=lines)
    return complete if lines == mask.image.notices else complete.replace(mask_image=told)


def _is_at_hand(image: Any) -> bool:
    return isinstance(image, Picture) and image.at_hand


def check_fitted_mask(complete: Recipe) -> None:
    """Raise `ParameterError` where a complete recipe crops around a mask in which there is nothing."""
    mask = complete.mask
    if mask is None or mask.crop is None or not isinstance(mask.image, Picture) or not mask.image.at_hand:
        return
    if fitted_picture(complete, "mask_image").getbbox() is None:
        raise ParameterError(
            "`mask_crop` must be given with a mask that is not black everywhere. Leave it out, or paint a part white."
        )

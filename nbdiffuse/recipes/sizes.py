"""Sizes: of a recipe's result, and of the pictures that its pipeline gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from PIL import Image

from ..errors import ParameterError
from ..images.fitting import Size, fit, fitted_size
from ..images.latents import Latents
from ..images.mask_content import content_image, hidden_part
from ..images.picture import Picture
from .preset import Preset
from .presets import preset_of
from .recipe import PARAMS, Recipe
from .weights_source import WeightsSource

KEPT = "fit keeps the proportions"
SHAPE = "it has another shape"
PART = "only the masked part is drawn"
"""How the notices of `with_size_notices` begin."""


def result_size(recipe: Recipe, preset: Preset, origin: WeightsSource) -> Size:
    """Return the size of the result; an upscaler's initial picture is that size over its scale."""
    scale, multiple = preset.scale, origin.size_multiple
    if isinstance(recipe.image, Latents):
        return _size_of_latents(recipe, preset, recipe.image)
    leading = leading_picture(recipe)
    if leading is None:
        width, height = recipe.width or origin.native_size, recipe.height or origin.native_size
        return fitted_size((width, height), width=width, height=height, multiple=multiple)
    for name in ("width", "height"):
        side = recipe.get(name)
        if side is not None and side % (scale * multiple):
            nearest = max(1, round(side / (scale * multiple))) * scale * multiple
            raise ParameterError(
                f"`{name}` must be a multiple of {scale * multiple} for {preset.name}, got {side}. The nearest is {nearest}."
            )
    width, height = fitted_size(
        leading.size,
        width=recipe.width and recipe.width // scale,
        height=recipe.height and recipe.height // scale,
        multiple=multiple,
        limit=origin.native_size,
        mode=recipe.resize_mode or "fit",
    )
    if preset.square and recipe.mask is None and width != height:
        way_out = "Give `width` and `height` alike, and `resize_mode` crop, pad or stretch."
        raise ParameterError(f"`image` must be square for {preset.name}, got {width}x{height}. {way_out}")
    return width * scale, height * scale


def leading_picture(recipe: Recipe) -> Picture | None:
    """Return the picture that gives a result its proportions: the initial one, or without it the ControlNet's."""
    found = recipe.get("control_image") if recipe.image is None else recipe.image
    return found if isinstance(found, Picture) else None


def _size_of_latents(recipe: Recipe, preset: Preset, latents: Latents) -> Size:
    plain = recipe.mask is None and not recipe.controlnets
    if not preset.takes_latents or not plain:
        what = preset.name if plain else f"{preset.name} with a mask or a ControlNet"
        raise ParameterError(f"`image` must be a picture for {what}, got latents. Give the decoded picture: `result.image`.")
    width, height = (side * preset.scale for side in latents.size)
    for name, side, own in (("width", recipe.width, width), ("height", recipe.height, height)):
        if side not in (None, own):
            raise ParameterError(
                f"`{name}` must be {own}, the size of the latents, got {side}. Leave it out, or give the picture."
            )
    return width, height


def initial_size(recipe: Recipe) -> Size:
    """Return the size that a complete recipe's initial, mask and control pictures are brought to, in pixels.

    Where only the masked part is redrawn it is the picture's own: the part is taken from there and put back there.
    """
    if _is_put_back(recipe):
        return recipe.pictures["image"].size
    scale = preset_of(recipe.model).scale
    return (recipe.width or 0) // scale, (recipe.height or 0) // scale


def made_size(recipe: Recipe) -> Size:
    """Return the size of what a complete recipe makes, in pixels."""
    return initial_size(recipe) if _is_put_back(recipe) else (recipe.width or 0, recipe.height or 0)


def _is_put_back(recipe: Recipe) -> bool:
    """Tell whether the masked part is taken from the picture as large as it is; other modes than fit ask for a size."""
    mask, image = recipe.mask, recipe.image
    crops = mask is not None and mask.crop is not None and recipe.resize_mode in (None, "fit")
    return crops and isinstance(image, Picture) and image.at_hand


def keeps_own_size(field: str) -> bool:
    """Tell whether the picture of a field is handed on as large as it is, and not brought to the run's size."""
    return PARAMS[field].own_size


def lies_over(recipe: Recipe, field: str) -> Size | None:
    """Return the size of the picture that another one of a complete recipe lies over as a whole, in pixels.

    A mask or control picture that has the run's own size already is used as it is: it
    was made for what the run sees. None for that one, and for the picture that gives
    the proportions.
    """
    leading, picture = leading_picture(recipe), recipe.pictures[field]
    if leading is None or not leading.at_hand or keeps_own_size(field):
        return None
    return None if picture is leading or picture.size == initial_size(recipe) else leading.size


def resample_of(recipe: Recipe, field: str) -> Image.Resampling:
    """Return Pillow's filter for one of a complete recipe's pictures.

    diffusers' own is Lanczos, whose ripples make pixels grey that a mask's black
    surrounds. Where black has to stay black each pixel is the mean of what it covers.
    """
    exact = field == "mask_image" and recipe.keeps_pixels
    return Image.Resampling.BOX if exact else Image.Resampling.LANCZOS


def fitted_pictures(recipe: Recipe) -> dict[str, Image.Image]:
    """Return the pictures that the pipeline gets, by field: RGB (the mask: L), all but references of one size."""
    return {name: fitted_picture(recipe, name) for name in recipe.pictures}


def fitted_picture(recipe: Recipe, name: str) -> Image.Image:
    """Return one of a complete recipe's pictures as the pipeline gets it; `name` is its field."""
    size, mode, own = initial_size(recipe), recipe.resize_mode or "fit", recipe.pictures[name].image
    if keeps_own_size(name):
        return own
    if name == "mask_image" and recipe.mask is not None and recipe.mask.is_shaped:
        own = recipe.mask.shaped(own.convert("L")).convert("RGB")
    fitted = fit(own, size, mode, over=lies_over(recipe, name), resample=resample_of(recipe, name))
    return fitted.convert("L") if name == "mask_image" else fitted


def called_pictures(recipe: Recipe, fitted: Mapping[str, Image.Image]) -> Mapping[str, Image.Image]:
    """Return a complete recipe's fitted pictures as the call gets them: with what is under the mask at the start."""
    mask = recipe.mask
    if mask is None or not mask.hides or mask.hides_latents:
        return fitted
    over = fitted["mask_image"]
    # With a crop the pipeline blends the edge itself, with what it is given: the picture has to be there.
    part = over if mask.crop is None else hidden_part(over)
    start = content_image(str(mask.content), fitted["image"], part, recipe.seed or 0)
    return {**fitted, "image": start}


def with_size_notices(asked: Recipe, complete: Recipe) -> Recipe:
    """Return a complete recipe whose pictures have a notice where their size was changed or differs from what was asked.

    Parameters
    ----------
    asked
        As a person wrote it.
    complete
        The same with its size.
    """
    leading, told = leading_picture(asked), dict[str, Picture]()
    for name, picture in complete.pictures.items():
        if isinstance(picture, Picture) and leading is not None and picture.at_hand:
            lines = tuple(line for line in picture.notices if not line.startswith((KEPT, SHAPE, PART)))
            if keeps_own_size(name):
                continue
            added = _box_notice(asked, complete) if picture is leading else _shape_notice(complete, picture, leading)
            if lines + added != picture.notices:
                told[name] = dataclasses.replace(picture, notices=lines + added)
    return complete.replace(**told) if told else complete


def _box_notice(asked: Recipe, complete: Recipe) -> tuple[str, ...]:
    box, made = (asked.width, asked.height), (complete.width, complete.height)
    if _is_put_back(complete):
        own = made_size(complete)
        line = f"{PART}, at {made[0]}x{made[1]}, and put back into the picture, {own[0]}x{own[1]}"
        return (line,) if own != made else ()
    if None in box or box == made:
        return ()
    wanted = f"{box[0]}x{box[1]}"
    return (f"{KEPT}: {made[0]}x{made[1]} is made where {wanted} was asked for; crop, pad and stretch fill {wanted}",)


def _shape_notice(complete: Recipe, picture: Picture, leading: Picture) -> tuple[str, ...]:
    (width, height), (whole_width, whole_height) = picture.size, leading.size
    # A picture that was made smaller lost up to half a pixel to rounding.
    near = abs(width * whole_height - height * whole_width) <= max(whole_width, whole_height, width * whole_height // 100)
    if near or picture.size == initial_size(complete):
        return ()
    return (f"{SHAPE} than the picture that it lies over, {width}x{height} and {whole_width}x{whole_height}: it is stretched",)


def stretched(recipe: Recipe) -> Recipe:
    """Return a complete recipe of an earlier version with the `resize_mode` that it was run with, under today's name.

    Up to commit 58f126f "fit" stretched a picture to a width and height that had other
    proportions. No complete recipe says that any more, so one that does is such a recipe.
    """
    leading, size = leading_picture(recipe), (recipe.width, recipe.height)
    if leading is None or not leading.at_hand or None in size or recipe.resize_mode not in (None, "fit"):
        return recipe
    preset = preset_of(recipe.model)
    kept = result_size(recipe, preset, preset.origin_of(str(recipe.checkpoint))) == size
    return recipe if kept else recipe.replace(resize_mode="stretch")

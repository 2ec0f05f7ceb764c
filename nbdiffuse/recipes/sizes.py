"""Sizes: of a recipe's result, and of the pictures that its pipeline gets."""

from __future__ import annotations

from PIL import Image

from ..errors import ParameterError
from ..images.fitting import fit, fitted_size
from ..images.latents import Latents
from .origins import Origin
from .preset import Preset, way
from .presets import preset_of
from .recipe import Recipe


def result_size(recipe: Recipe, preset: Preset, origin: Origin) -> tuple[int, int]:
    """Return the size of the result; an upscaler's initial picture is that size over its scale."""
    scale, multiple = preset.scale, origin.size_multiple
    if isinstance(recipe.image, Latents):
        return _size_of_latents(recipe, preset, recipe.image)
    if recipe.image is None:
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
        recipe.image.size,
        width=recipe.width and recipe.width // scale,
        height=recipe.height and recipe.height // scale,
        multiple=multiple,
        limit=origin.native_size,
    )
    return width * scale, height * scale


def _size_of_latents(recipe: Recipe, preset: Preset, latents: Latents) -> tuple[int, int]:
    if not preset.takes_latents or way(recipe) != "img2img":
        what = preset.name if way(recipe) == "img2img" else f"{preset.name} with a mask or a ControlNet"
        raise ParameterError(f"`image` must be a picture for {what}, got latents. Give the decoded picture: `result.image`.")
    width, height = (side * preset.scale for side in latents.size)
    for name, side, own in (("width", recipe.width, width), ("height", recipe.height, height)):
        if side not in (None, own):
            raise ParameterError(
                f"`{name}` must be {own}, the size of the latents, got {side}. Leave it out, or give the picture."
            )
    return width, height


def initial_size(recipe: Recipe) -> tuple[int, int]:
    """Return the size that a complete recipe's initial, mask and control pictures are brought to, in pixels."""
    scale = preset_of(recipe.model).scale
    return (recipe.width or 0) // scale, (recipe.height or 0) // scale


def fitted_pictures(recipe: Recipe) -> dict[str, Image.Image]:
    """Return a complete recipe's pictures as the pipeline gets them, by field: RGB (the mask: L), all of one size."""
    size, mode = initial_size(recipe), recipe.resize_mode or "fit"
    fitted = {name: fit(picture.image, size, mode) for name, picture in recipe.pictures.items()}
    return {name: picture.convert("L") if name == "mask_image" else picture for name, picture in fitted.items()}

"""Rules that the reference pictures of a recipe must keep."""

from __future__ import annotations

from ..errors import ParameterError
from ..families.parameters import number_text
from ..images.picture import Picture
from .fields import numbered
from .preset import Preset
from .presets import PRESETS
from .recipe import Recipe


def check_number_of_references(recipe: Recipe, preset: Preset) -> None:
    """Raise where a recipe has more pictures than its preset looks at."""
    mode = preset.mode(recipe)
    given, most = len(recipe.references), preset.references.get(mode, 0)
    if given <= most or recipe.image is None or not preset.edits:
        return
    others = [name for name, one in PRESETS.items() if one.references.get(mode, 0) > most]
    rule = f"at most {most}" if most else "left out"
    pictures = f"{most + 1} pictures" if most else "one picture"
    line = f"`references` must be {rule} for {preset.name}{' with a mask' if recipe.mask else ''}, which takes {pictures}"
    way_out = f"Take {' or '.join(others)}, or edit each by itself" if others else "Edit each by itself"
    raise ParameterError(f"{line}, got {given}. {way_out}: `%%edit =pictures` makes a grid of a list.")


def check_shapes(complete: Recipe, preset: Preset) -> None:
    """Raise where a picture that a complete recipe edits or looks at is smaller or longer than the pipeline takes."""
    if complete.image is None:
        return
    sizes = {"image": (complete.width or 0, complete.height or 0)}
    for number, reference in enumerate(complete.references, start=1):
        if isinstance(reference.image, Picture) and reference.image.at_hand:
            sizes[numbered("image_reference", number)] = reference.image.size
    area = preset.most_area.get(preset.mode(complete))
    if area is not None and (complete.width or 0) * (complete.height or 0) > area:
        of_mode = " with a mask" if complete.mask else ""
        size = f"{complete.width}x{complete.height}"
        raise ParameterError(f"`width` times `height` must be at most {area} for {preset.name}{of_mode}, got {size}. Lower one.")
    least, ratio = preset.picture_shape
    for name, (width, height) in sizes.items():
        rule = f"at least {least} pixels on both sides, and at most {number_text(ratio)} times as long as wide"
        if min(width, height) < least or max(width, height) > ratio * min(width, height):
            raise ParameterError(f"`{name}` must have {rule}, for {preset.name}, got {width}x{height}. Enlarge or crop it.")

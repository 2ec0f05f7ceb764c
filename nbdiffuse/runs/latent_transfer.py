"""Latent transfer: a chain's step hands latents to the next one where both share a VAE, else a picture."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from ..images.picture import Picture
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe

LATENTS = "latents"
"""How an arrow is called that decodes and encodes nothing."""


def why_decoded(step: Recipe, size: tuple[int, int], kept: bool, share: Callable[[], bool]) -> str:
    """Say why latents cannot be handed to a step of a chain.

    Parameters
    ----------
    step
        With its checkpoint named.
    size
        Width and height of what the step before made, in pixels.
    kept
        Whether that step has its latents.
    share
        Whether both steps have the same VAE; asked last, since it may load one.

    Returns
    -------
    str
        Empty where they can.
    """
    preset = preset_of(step.model)
    if not preset.takes_latents:
        return f"{preset.name} takes pictures"
    redraws = step.replace(image=Picture.of(Image.new("RGB", (1, 1))))
    if redraws.mask is not None or redraws.controlnets:
        return "a mask or a ControlNet needs pictures"
    if not kept:
        return "the step before kept no latents"
    for side, made in ((step.width, size[0]), (step.height, size[1])):
        if side not in (None, made * preset.scale):
            return "another size was asked for"
    return "" if share() else "another VAE"

"""Weights of another family than a preset's: refused in one line, with what they are and what to type."""

from __future__ import annotations

from ..errors import ParameterError, breaks_rule
from ..families.families import FAMILIES
from ..families.recognition import Recognised
from .presets import name_for, named, runs_here, way_out_of

_OTHER_CHANNELS = {5: "depth-to-image", 7: "upscaling", 8: "InstructPix2Pix, which edits by instruction", 9: "inpainting"}


def check(recognised: Recognised, family: str, preset: str, word: str, masked: bool) -> None:
    """Refuse weights that a preset cannot run.

    Parameters
    ----------
    recognised
        What they are.
    family
        Key of the family of the preset that is to run them.
    preset
        That preset's name.
    word
        What they were asked for by.
    masked
        Whether there is a mask.

    Raises
    ------
    ParameterError
        They are of another family, or their UNet takes other inputs.
    """
    line = breaks_rule("checkpoint", f"weights of {FAMILIES[family].title} for {preset}", word).rstrip(".")
    if not recognised.family:
        raise ParameterError(f"{line}: it is {recognised.what}. {_way_out(recognised, word)}")
    if recognised.family != family:
        model = name_for(recognised.family)
        raise ParameterError(f"{line}: it is {named(recognised)}. Write `--model {model} --checkpoint {word}`.")
    channels, taken = recognised.in_channels, FAMILIES[family].unet_channels
    if channels is None or not taken:
        return
    if channels not in taken:
        purpose = _OTHER_CHANNELS.get(channels, "something else")
        raise ParameterError(f"{line}: its UNet takes {channels} channels, for {purpose}. {runs_here()}")
    needed = FAMILIES[family].mask_channels
    if masked and needed and channels not in needed:
        line = f"`checkpoint` must be one for inpainting where a mask is given, got {word!r}: its UNet takes {channels} channels"
        way_out = "Leave `mask_image` out, or give other weights."
        raise ParameterError(f"{line}, and {FAMILIES[family].title} inpaints with {needed[0]}. {way_out}")
    if channels == 9 and not masked:
        needs = f"`mask_image` must be given: {word} is for inpainting, its UNet takes 9 channels."
        raise ParameterError(f"{needs} Give a mask, or other weights.")


def _way_out(recognised: Recognised, word: str) -> str:
    if any(kind in recognised.what for kind in ("a LoRA", "a LoHa", "a LoKr")):
        return f"Give it as `--lora {word}`."
    if "a ControlNet" in recognised.what:
        return "It stands beside a checkpoint: give it in diffusers' layout as `--controlnet`."
    return way_out_of(recognised)

"""Which family weights are of, told by their small files, before anything heavy is fetched or loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import ParameterError, breaks_rule
from .contents import PARTS, header, seems_to_be
from .well_known import WELL_KNOWN

_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Recognised:
    """What weights are.

    Parameters
    ----------
    what
        In words, such as "a FluxPipeline".
    family
        The preset that stands for its family; "" for one that is not run here.
    in_channels
        Of its UNet; None where it has none, or does not say.
    """

    what: str
    family: str = ""
    in_channels: int | None = None


TITLES: Mapping[str, str] = MappingProxyType(
    {
        "sd15": "Stable Diffusion 1 or 2",
        "sdxl": "Stable Diffusion XL",
        "sdxl-refiner": "the refiner of Stable Diffusion XL",
        "kandinsky22": "Kandinsky 2.2",
        "x2-upscaler": "the x2 latent upscaler",
        "x4-upscaler": "the x4 upscaler",
    }
)
"""Families that are run here, by the preset that stands for each."""
_CHANNELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"sd15": (4, 9), "sdxl": (4, 9), "sdxl-refiner": (4,), "kandinsky22": (4,), "x2-upscaler": (8,), "x4-upscaler": (7,)}
)
_OTHER_CHANNELS = {5: "depth-to-image", 7: "upscaling", 8: "InstructPix2Pix, which edits by instruction", 9: "inpainting"}
_OWN_CLASSES = {"StableDiffusionUpscalePipeline": "x4-upscaler", "StableDiffusionLatentUpscalePipeline": "x2-upscaler"}
_NOT_BY_WORDS = ("InstructPix2Pix", "UnCLIP", "ImageVariation", "PaintByExample", "Depth2Img", "LDM3D", "AnimateDiff", "Video")
"""In names of pipelines that have the parts of Stable Diffusion and are driven in another way."""
_SD_COMPONENTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}


def recognise(word: str) -> Recognised | None:
    """Tell what weights are; None where nothing on this disk and nothing known by heart says it.

    Parameters
    ----------
    word
        A local directory or .safetensors file, or a hub id.
    """
    known = WELL_KNOWN.get(word.partition("@")[0])
    try:
        path = Path(word).expanduser()
        if path.is_dir():
            return recognise_directory(path)
        if path.is_file():
            return recognise_file(path)
    except (OSError, ValueError, RuntimeError):  # no path: too long, a NUL, a home that nobody has
        return None
    if known is None:
        return None
    return Recognised(TITLES[known], known) if known in TITLES else Recognised(_with_article(known))


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def recognise_directory(directory: Path) -> Recognised | None:
    """Tell what a checkpoint in diffusers' layout is, by its index and its UNet's config."""
    index = _content(directory / "model_index.json")
    name = index.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        return None
    components = {
        key: entry[1] for key, entry in index.items() if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)
    }
    unet = _content(directory / "unet" / "config.json")
    channels = unet.get("in_channels")
    family = _family(name, components, unet, index)
    return Recognised(_with_article(name), family, channels if isinstance(channels, int) else None)


def _family(name: str, components: Mapping[str, str], unet: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    if name in _OWN_CLASSES:
        return _OWN_CLASSES[name]
    if name.startswith("KandinskyV22") and "Prior" not in name:
        return "kandinsky22"
    if any(components.get(part, kind) != kind for part, kind in _SD_COMPONENTS.items()):
        return ""
    if not set(_SD_COMPONENTS) <= set(components) or any(word in name for word in _NOT_BY_WORDS):
        return ""
    if "text_encoder_2" in components:
        return "sdxl-refiner" if "text_encoder" not in components or index.get("requires_aesthetics_score") is True else "sdxl"
    plain = unet.get("addition_embed_type") is None and unet.get("class_embed_type") is None
    return "sd15" if plain and components.get("text_encoder") == "CLIPTextModel" else ""


def recognise_file(file: Path) -> Recognised | None:
    """Tell what a single .safetensors file is, by its keys; None where it cannot be read."""
    found = header(file)
    if found is None:
        return None
    first = found.get("model.diffusion_model.input_blocks.0.0.weight")
    whole = any(key.startswith("first_stage_model.") for key in found)
    if not first or len(first) != 4 or not whole:
        what = seems_to_be(found)
        if what in (*PARTS, "something else", "an empty file"):
            return None  # the loader says which parts are missing
        return Recognised(f"one file that seems to be {what}")
    family = "sd15"
    if any(key.startswith("conditioner.embedders.1.") for key in found):
        family = "sdxl"
    elif any(key.startswith("conditioner.embedders.0.") for key in found):
        family = "sdxl-refiner"
    elif first[1] == 7:
        family = "x4-upscaler"
    return Recognised(f"a single file of {TITLES[family]}", family, first[1])


def check(recognised: Recognised, family: str, preset: str, word: str, masked: bool) -> None:
    """Refuse weights that a preset cannot run, in one line with what they are and what to type.

    Parameters
    ----------
    recognised
        What they are.
    family
        The preset that stands for the family of the one that is to run them.
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
    line = breaks_rule("checkpoint", f"weights of {TITLES[family]} for {preset}", word).rstrip(".")
    if not recognised.family:
        raise ParameterError(f"{line}: it is {recognised.what}. {_way_out(recognised, word)}")
    if recognised.family != family:
        raise ParameterError(f"{line}: it is {named(recognised)}. Write `--model {recognised.family} --checkpoint {word}`.")
    channels = recognised.in_channels
    if channels is None:
        return
    if channels not in _CHANNELS[family]:
        purpose = _OTHER_CHANNELS.get(channels, "something else")
        raise ParameterError(f"{line}: its UNet takes {channels} channels, for {purpose}. {runs_here()}")
    if channels == 9 and not masked:
        needs = f"`mask_image` must be given: {word} is for inpainting, its UNet takes 9 channels."
        raise ParameterError(f"{needs} Give a mask, or other weights.")


def named(recognised: Recognised) -> str:
    """Return what weights of a family that is run here are, with the family."""
    title = TITLES[recognised.family]
    return recognised.what if title in recognised.what else f"{recognised.what}, of {title}"


def _way_out(recognised: Recognised, word: str) -> str:
    if any(kind in recognised.what for kind in ("a LoRA", "a LoHa", "a LoKr")):
        return f"Give it as `--lora {word}`."
    if "a ControlNet" in recognised.what:
        return "It stands beside a checkpoint: give it in diffusers' layout as `--controlnet`."
    return runs_here()


def runs_here() -> str:
    """Say which families this version runs."""
    return f"This version redraws with: {', '.join(f'{family} ({title})' for family, title in TITLES.items())}."


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8")) if file.stat().st_size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}

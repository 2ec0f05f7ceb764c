"""Which family weights are of, told by their small files, before anything heavy is fetched or loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.paths import here
from .contents import PARTS, header, seems_to_be
from .families import FAMILIES, USUAL
from .hub_ids import cached, parse_hub_id
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
        Key of its family in `families.FAMILIES`; "" for one that is not run here.
    in_channels
        Of its UNet; None where it has none, or does not say.
    """

    what: str
    family: str = ""
    in_channels: int | None = None


_NOT_BY_WORDS = ("InstructPix2Pix", "UnCLIP", "ImageVariation", "PaintByExample", "Depth2Img", "LDM3D", "AnimateDiff", "Video")
"""In names of pipelines that have the parts of Stable Diffusion and are driven in another way."""
_BY_CHANNELS = {7: "x4-upscaler", 8: "instruct-pix2pix"}
"""Families whose single files differ from those of Stable Diffusion in what their UNet takes."""
_SD_COMPONENTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}


def recognise(word: str) -> Recognised | None:
    """Tell what weights are; None where nothing on this disk and nothing known by heart says it.

    Parameters
    ----------
    word
        A local directory or .safetensors file, or a hub id.
    """
    known = WELL_KNOWN.get(word.partition("@")[0])
    path = here(word)
    if path is not None:
        return recognise_directory(path) if path.is_dir() else recognise_file(path)
    if known is None:
        return _in_cache(word)
    return Recognised(FAMILIES[known].title, known) if known in FAMILIES else Recognised(_with_article(known), _by_class(known))


def model_of_weights(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's `model` and `checkpoint` where it says weights alone and these are not of the family that is usual.

    Parameters
    ----------
    given
        What is said of a recipe, by field.

    Returns
    -------
    dict of str to Any
        Empty where a model is said, and for weights that nothing on this disk tells; those of the usual family may be any
        of its models'.
    """
    word = given.get("checkpoint")
    if not isinstance(word, str) or given.get("model") is not None:
        return {}
    found = recognise(word)
    return {"model": word, "checkpoint": None} if found is not None and found.family not in ("", USUAL) else {}


def _in_cache(word: str) -> Recognised | None:
    """Tell what a hub id is, where its index is in the hub's cache."""
    asked = parse_hub_id(word)
    index = cached(asked[0], "model_index.json", asked[1]) if asked and not asked[2] else None
    return recognise_directory(Path(index).parent) if index else None


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
    name = _by_transformer(name, _content(directory / "transformer" / "config.json"))
    channels = unet.get("in_channels")
    family = _family(name, components, unet, index)
    return Recognised(_with_article(name), family, channels if isinstance(channels, int) else None)


def _family(name: str, components: Mapping[str, str], unet: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    by_class = _by_class(name)
    if by_class:
        return by_class
    if any(components.get(part, kind) != kind for part, kind in _SD_COMPONENTS.items()):
        return ""
    if not set(_SD_COMPONENTS) <= set(components) or any(word in name for word in _NOT_BY_WORDS):
        return ""
    if "text_encoder_2" in components:
        if unet.get("in_channels") == 8:
            return "stable-diffusion-xl-instruct-pix2pix"
        refines = "text_encoder" not in components or index.get("requires_aesthetics_score") is True
        return "stable-diffusion-xl-refiner" if refines else "stable-diffusion-xl"
    plain = unet.get("addition_embed_type") is None and unet.get("class_embed_type") is None
    if not plain or components.get("text_encoder") != "CLIPTextModel":
        return ""
    # Weights are trained to edit by scripts that may save them as any pipeline of Stable Diffusion.
    return "instruct-pix2pix" if unet.get("in_channels") == 8 else "stable-diffusion"


def _by_transformer(name: str, config: Mapping[str, Any]) -> str:
    """Return the pipeline class that weights of Flux are for, by what their transformer takes, whatever they were saved from.

    Beside the latents that of Flux Fill takes those of what is kept, and 8x8 pixels of the mask for each of 2x2 latents.
    """
    taken, made = config.get("in_channels"), config.get("out_channels") or config.get("in_channels")
    if name != "FluxPipeline" or not isinstance(taken, int) or not isinstance(made, int):
        return name
    return "FluxFillPipeline" if taken == 2 * made + 4 * 8 * 8 else name


def _by_class(name: str) -> str:
    """Return the family whose checkpoints are known by the pipeline class that they were saved from; "" where none is."""
    for key, family in FAMILIES.items():
        saved = name.startswith(family.saved_as) if family.saved_as else name in family.pipelines.values()
        if not family.known_by_parts and saved and "Prior" not in name:
            return key
    return ""


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
    family = "stable-diffusion"
    if any(key.startswith("conditioner.embedders.1.") for key in found):
        family = "stable-diffusion-xl"
    elif any(key.startswith("conditioner.embedders.0.") for key in found):
        family = "stable-diffusion-xl-refiner"
    elif first[1] in _BY_CHANNELS:
        family = _BY_CHANNELS[first[1]]
    return Recognised(f"a single file of {FAMILIES[family].title}", family, first[1])


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8")) if file.stat().st_size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}

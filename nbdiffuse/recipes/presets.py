"""Presets: names for weights, here and on the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import ParameterError, did_you_mean
from ..families.families import FAMILIES
from ..families.hub_ids import MOVED as MOVED
from ..files.paths import here
from .origins import Origin
from .preset import Preset

OPEN_RAIL, OPEN_RAIL_XL = "CreativeML OpenRAIL-M", "CreativeML Open RAIL++-M"


def _sd15(name: str, title: str, hub: str, trigger: str = "") -> Preset:
    return Preset(
        name=name,
        family="stable-diffusion",
        title=title,
        trigger=trigger,
        scheduler="PNDM",
        tiny=Origin(checkpoint=name, native_size=128),
        hub=Origin(checkpoint=hub, native_size=512, licence=OPEN_RAIL),
        controlnets=("depth",),
    )


def _sdxl(name: str, family: str, hub: str) -> Preset:
    return Preset(
        name=name,
        family=family,
        scheduler="EulerDiscrete",
        tiny=Origin(checkpoint=name, native_size=128),
        hub=Origin(checkpoint=hub, native_size=1024, licence=OPEN_RAIL_XL),
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _sd15("sd15", "Stable Diffusion v1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
            _sd15("comic", "Comic-Diffusion", "ogkalu/Comic-Diffusion", "charliebo artstyle"),
            _sd15("pixel-art", "pixel-art-style", "kohbanye/pixel-art-style", "pixelartstyle"),
            _sd15("elden-ring", "elden-ring-diffusion", "nitrosocke/elden-ring-diffusion", "elden ring style"),
            _sdxl("sdxl", "stable-diffusion-xl", "stabilityai/stable-diffusion-xl-base-1.0"),
            _sdxl("sdxl-refiner", "stable-diffusion-xl-refiner", "stabilityai/stable-diffusion-xl-refiner-1.0"),
            Preset(
                name="kandinsky22",
                family="kandinsky22",
                scheduler="DDPM",
                tiny=Origin(checkpoint="kandinsky22", native_size=128, size_multiple=64),
                hub=Origin(checkpoint="kandinsky-community/kandinsky-2-2-decoder", native_size=512, size_multiple=64),
            ),
            Preset(
                name="x2-upscaler",
                family="x2-upscaler",
                scheduler="EulerDiscrete",
                tiny=Origin(checkpoint="x2-upscaler", native_size=128, size_multiple=16),
                hub=Origin(
                    checkpoint="stabilityai/sd-x2-latent-upscaler", native_size=512, size_multiple=64, licence=OPEN_RAIL_XL
                ),
            ),
            Preset(
                name="x4-upscaler",
                family="x4-upscaler",
                scheduler="DDIM",
                tiny=Origin(checkpoint="x4-upscaler", native_size=256),
                hub=Origin(checkpoint="stabilityai/stable-diffusion-x4-upscaler", native_size=512, licence=OPEN_RAIL_XL),
            ),
        )
    }
)
"""Every preset, by name."""


def preset_of(model: str) -> Preset:
    """Return the preset that `model` names.

    Parameters
    ----------
    model
        A preset's name, the hub id of its original, or a local directory in
        diffusers' layout.

    Raises
    ------
    ParameterError
        There is none; the line offers the nearest name.
    """
    if model in PRESETS:
        return PRESETS[model]
    if model in FAMILIES:
        # Weights of it are given by `checkpoint`.
        return Preset(name=model, family=model)
    current = MOVED.get(model, model)
    for preset in PRESETS.values():
        if preset.hub and current == preset.hub.checkpoint:
            return preset
    directory = here(model)
    family = _family_of(directory / "model_index.json") if directory else None
    if family:
        return family
    advice = did_you_mean(model, PRESETS)
    if "/" in model:
        advice = f"For other weights of a family, give both: `--model sd15 --checkpoint {model}`."
    raise ParameterError(f"`model` must name a preset, got {model!r}. {advice}")


def _family_of(index: Path) -> Preset | None:
    """Find the family of a local directory by the pipeline class that it names."""
    if not os.path.isfile(index):
        return None
    try:
        named = json.loads(index.read_text("utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError):
        raise ParameterError(f"`model` must be a checkpoint in diffusers' layout; {index} is no valid JSON.") from None
    # The refiner and the base of SDXL share a class; the base comes with both ways to run.
    found: Iterable[Preset] = (preset for preset in PRESETS.values() if named in preset.pipelines.values())
    others = (Preset(name=key, family=key) for key, family in FAMILIES.items() if named in family.pipelines.values())
    return next(iter(found), None) or next(others, None)

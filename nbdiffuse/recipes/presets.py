"""Presets: names for weights, here and on the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import ParameterError, did_you_mean
from ..families.diffusers_classes import makes_video
from ..families.families import FAMILIES
from ..families.hub_ids import MOVED as MOVED
from ..families.recognition import Recognised, recognise
from ..files.paths import here
from .preset import Preset
from .recipe import Recipe
from .weights_source import WeightsSource

OPEN_RAIL, OPEN_RAIL_XL = "CreativeML OpenRAIL-M", "CreativeML Open RAIL++-M"

EDIT = "edit"
"""The preset of `%%edit` and `nbdiffuse.edit` where none is named."""


def _sd15(name: str, title: str, hub: str, trigger: str = "") -> Preset:
    return Preset(
        name=name,
        family="stable-diffusion",
        title=title,
        trigger=trigger,
        scheduler="PNDM",
        embedded=WeightsSource(checkpoint=name, native_size=128),
        hub=WeightsSource(checkpoint=hub, native_size=512, licence=OPEN_RAIL),
        controlnets=("depth",),
    )


def _sdxl(name: str, family: str, hub: str) -> Preset:
    return Preset(
        name=name,
        family=family,
        scheduler="EulerDiscrete",
        embedded=WeightsSource(checkpoint=name, native_size=128),
        hub=WeightsSource(checkpoint=hub, native_size=1024, licence=OPEN_RAIL_XL),
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
                embedded=WeightsSource(checkpoint="kandinsky22", native_size=128, size_multiple=64),
                hub=WeightsSource(checkpoint="kandinsky-community/kandinsky-2-2-decoder", native_size=512, size_multiple=64),
            ),
            Preset(
                name=EDIT,
                family="instruct-pix2pix",
                scheduler="PNDM",
                embedded=WeightsSource(checkpoint="edit", native_size=128),
                hub=WeightsSource(checkpoint="timbrooks/instruct-pix2pix", native_size=512, licence="MIT"),
            ),
            Preset(
                name="x2-upscaler",
                family="x2-upscaler",
                scheduler="EulerDiscrete",
                embedded=WeightsSource(checkpoint="x2-upscaler", native_size=128, size_multiple=16),
                hub=WeightsSource(
                    checkpoint="stabilityai/sd-x2-latent-upscaler", native_size=512, size_multiple=64, licence=OPEN_RAIL_XL
                ),
            ),
            Preset(
                name="x4-upscaler",
                family="x4-upscaler",
                scheduler="DDIM",
                embedded=WeightsSource(checkpoint="x4-upscaler", native_size=256),
                hub=WeightsSource(checkpoint="stabilityai/stable-diffusion-x4-upscaler", native_size=512, licence=OPEN_RAIL_XL),
            ),
        )
    }
)
"""Every preset, by name."""
_WITH_PRESET = frozenset(preset.family for preset in PRESETS.values())


def model_names() -> tuple[str, ...]:
    """Return what `model` may be called: every preset, and every family whose weights are given by `checkpoint`."""
    return (*PRESETS, *(key for key in FAMILIES if key not in _WITH_PRESET))


def is_named(model: str) -> bool:
    """Tell whether `model` is the name of a preset or of a family, and neither a hub id nor a directory."""
    return model in PRESETS or model in FAMILIES


def preset_of(model: str) -> Preset:
    """Return the preset that `model` names.

    Parameters
    ----------
    model
        A preset's name, or a checkpoint that its own files tell the family of: a hub id
        that is known by heart or in the hub's cache, a directory in diffusers' layout,
        or a single file.

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
    found = _recognised(model)
    if found is not None and found.family:
        return PRESETS.get(name_for(found.family)) or Preset(name=found.family, family=found.family)
    raise ParameterError(f"`model` must name a preset, got {model!r}. {_advice(model, found)}")


def mode_of(recipe: Recipe) -> str:
    """Return the key of `Preset.pipelines` that a recipe asks of its preset, such as "img2img+controlnet" or "edit"."""
    return preset_of(recipe.model).mode(recipe)


def name_for(family: str) -> str:
    """Return the name by which `model` takes a family: its first preset's, else its own key."""
    return next((preset.name for preset in PRESETS.values() if preset.family == family), family)


def named(recognised: Recognised) -> str:
    """Return what weights of a family that is run here are, with the family."""
    title = FAMILIES[recognised.family].title
    return recognised.what if title in recognised.what else f"{recognised.what}, of {title}"


def runs_here() -> str:
    """Say which families this version runs."""
    return f"This version redraws with: {', '.join(map(name_for, FAMILIES))}. `%diffuse families` says more of each."


def way_out_of(recognised: Recognised) -> str:
    """Say what to give in place of weights that are not run: their family in another layout, or another family."""
    for key, family in FAMILIES.items():
        if f"a {family.title} checkpoint" in recognised.what:
            line = "A single file of it is not read here: give its directory or hub id in diffusers' layout,"
            return f"{line} such as `--model {name_for(key)} --checkpoint ORG/NAME`."
    if makes_video(recognised.what.split()[-1]):
        return f"Video is not made here yet. {runs_here()}"
    return runs_here()


def _advice(model: str, found: Recognised | None) -> str:
    if found is not None:
        return f"It is {found.what}. {way_out_of(found)}"
    if "/" in model:
        first, second = PRESETS["sd15"], PRESETS["sdxl"]
        ways = f"`--model {first.name} --checkpoint {model}` for {first.title}, `--model {second.name}` for {second.title}"
        return f"Name the family of its weights too: {ways}; its page on the hub says which."
    return did_you_mean(model, model_names())


def _recognised(model: str) -> Recognised | None:
    """Tell the family of a local directory, a single file, or a hub id that is known by heart."""
    directory = here(model)
    index = directory / "model_index.json" if directory else None
    if index is not None and os.path.isfile(index):
        try:
            json.loads(index.read_text("utf-8"))["_class_name"]
        except (OSError, ValueError, TypeError, KeyError):
            raise ParameterError(f"`model` must be a checkpoint in diffusers' layout; {index} is no valid JSON.") from None
    return recognise(model)

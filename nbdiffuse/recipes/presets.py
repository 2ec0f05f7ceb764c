"""Presets: names for weights, here and on the hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import ParameterError, did_you_mean
from ..families.diffusers_classes import makes_video
from ..families.families import FAMILIES
from ..families.hub_ids import MOVED as MOVED
from ..families.published import PUBLISHED
from ..families.recognition import Recognised, recognise
from ..files.paths import here
from .preset import Preset
from .recipe import Recipe
from .weights_source import WeightsSource

_TASK_WORDS = re.compile(r"(Img2Img|Inpaint|Combined|Upscale|Pipeline)+$")
EDIT = "edit"
"""The preset of `%%edit` and `nbdiffuse.edit` where none is named."""


def _preset(name: str, family: str, hub: str, multiples: tuple[int, int] = (8, 8), **more: Any) -> Preset:
    """Return a preset whose weights are in this package and on the hub; `multiples` are those of its sides in each."""
    embedded = WeightsSource(checkpoint=name, native_size=more.pop("native_size", 128), size_multiple=multiples[0])
    return Preset(
        name=name,
        family=family,
        embedded=embedded,
        hub=WeightsSource.published(hub, multiples[1]),
        scheduler=PUBLISHED[hub].scheduler,
        **more,
    )


def _on_hub(name: str, title: str, family: str, hub: str) -> Preset:
    """Return a preset whose weights are on the hub alone."""
    source = WeightsSource.published(hub, FAMILIES[family].size_multiple)
    return Preset(name=name, title=title, family=family, hub=source, scheduler=PUBLISHED[hub].scheduler)


def _sd15(name: str, title: str, hub: str, trigger: str = "") -> Preset:
    return _preset(name, "stable-diffusion", hub, title=title, trigger=trigger, controlnets=("depth", "canny"))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _sd15("sd15", "Stable Diffusion v1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
            _sd15("comic", "Comic-Diffusion", "ogkalu/Comic-Diffusion", "charliebo artstyle"),
            _sd15("pixel-art", "pixel-art-style", "kohbanye/pixel-art-style", "pixelartstyle"),
            _sd15("elden-ring", "elden-ring-diffusion", "nitrosocke/elden-ring-diffusion", "elden ring style"),
            _preset(
                "inpaint",
                "stable-diffusion",
                "stable-diffusion-v1-5/stable-diffusion-inpainting",
                title="Stable Diffusion v1.5 inpainting",
                controlnets=("depth",),
                modes=("img2img+mask", "img2img+mask+controlnet"),
            ),
            _preset("sdxl", "stable-diffusion-xl", "stabilityai/stable-diffusion-xl-base-1.0"),
            _preset("sdxl-refiner", "stable-diffusion-xl-refiner", "stabilityai/stable-diffusion-xl-refiner-1.0"),
            _preset("kandinsky22", "kandinsky22", "kandinsky-community/kandinsky-2-2-decoder", (64, 64)),
            _preset(EDIT, "instruct-pix2pix", "timbrooks/instruct-pix2pix"),
            _preset("x2-upscaler", "x2-upscaler", "stabilityai/sd-x2-latent-upscaler", (16, 64)),
            _preset("x4-upscaler", "x4-upscaler", "stabilityai/stable-diffusion-x4-upscaler", native_size=256),
            _on_hub("sdxl-turbo", "SDXL Turbo", "stable-diffusion-xl", "stabilityai/sdxl-turbo"),
            _on_hub("lcm-dreamshaper", "LCM Dreamshaper v7", "lcm", "SimianLuo/LCM_Dreamshaper_v7"),
            _on_hub(
                "sd35-medium", "Stable Diffusion 3.5 medium", "stable-diffusion-3", "stabilityai/stable-diffusion-3.5-medium"
            ),
            _on_hub("flux-dev", "FLUX.1 dev", "flux", "black-forest-labs/FLUX.1-dev"),
            _on_hub("flux-schnell", "FLUX.1 schnell", "flux", "black-forest-labs/FLUX.1-schnell"),
            _on_hub("flux-krea", "FLUX.1 Krea dev", "flux", "black-forest-labs/FLUX.1-Krea-dev"),
            _on_hub("flux-kontext-dev", "FLUX.1 Kontext dev", "flux-kontext", "black-forest-labs/FLUX.1-Kontext-dev"),
            _on_hub("flux2-klein-4b", "FLUX.2 klein 4B", "flux2-klein", "black-forest-labs/FLUX.2-klein-4B"),
            _on_hub("qwen-image", "Qwen-Image", "qwenimage", "Qwen/Qwen-Image"),
            _on_hub("qwen-image-edit", "Qwen-Image-Edit 2511", "qwenimage-edit-plus", "Qwen/Qwen-Image-Edit-2511"),
            _on_hub("z-image-turbo", "Z-Image Turbo", "z-image", "Tongyi-MAI/Z-Image-Turbo"),
            _on_hub("chroma-hd", "Chroma1 HD", "chroma", "lodestones/Chroma1-HD"),
        )
    }
)
"""Every preset, by name."""
_EMBEDDED = MappingProxyType({preset.family: name for name, preset in reversed(tuple(PRESETS.items())) if preset.embedded})
"""By family, the first preset that has weights in this package: what a checkpoint of that family is called by."""


def model_names() -> tuple[str, ...]:
    """Return what `model` may be called: every preset, and every family whose weights are given by `checkpoint`."""
    return (*PRESETS, *(key for key in FAMILIES if key not in _EMBEDDED))


def names_offered(source: str) -> tuple[str, ...]:
    """Return the models that a list offers: with weights in this package as `source`, none that would be fetched."""
    return tuple(name for name in model_names() if source == "hub" or name not in PRESETS or PRESETS[name].embedded)


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
    """Return the name by which `model` takes a family: that of a preset with weights in this package, else its own key."""
    return _EMBEDDED.get(family, family)


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
        if f" a {family.title} checkpoint" in recognised.what:
            line = "A single file of it is not read here: give its directory or hub id in diffusers' layout,"
            return f"{line} such as `--model {name_for(key)} --checkpoint ORG/NAME`."
    if makes_video(recognised.what.split()[-1]) or " video " in recognised.what:
        return f"Video is not made here yet. {runs_here()}"
    nearest = nearest_family(recognised.what.split()[-1])
    near = f"Nearest to it is `{name_for(nearest)}` ({FAMILIES[nearest].title}), with weights of its own. " if nearest else ""
    return near + runs_here()


def nearest_family(pipeline: str) -> str:
    """Return the key of the family whose pipelines are named most like one that is not run here; "" where none is.

    Parameters
    ----------
    pipeline
        A class of diffusers, such as "ZImageOmniPipeline".
    """
    wanted, best, longest = pipeline.removesuffix("Pipeline"), "", 0
    for key, family in FAMILIES.items():
        for name in family.pipelines.values():
            stem = _TASK_WORDS.sub("", name)
            alike = stem.startswith(wanted) or wanted.startswith(stem)
            if alike and min(len(stem), len(wanted)) > longest:
                best, longest = key, min(len(stem), len(wanted))
    return best


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

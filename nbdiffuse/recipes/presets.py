"""Presets: what each model family is, as data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import ParameterError, did_you_mean
from .controlnets import WHOLE_RUN
from .origins import Origin
from .preset import Preset

MOVED = MappingProxyType({"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"})
"""Hub ids that are gone, and where the same weights are now."""
OPEN_RAIL = "CreativeML OpenRAIL-M"
_COMMON: dict[str, Any] = {"negative_prompt": "", "resize_mode": "fit"}
_WEIGHED = {**_COMMON, "weighting": "none", "lora": None}
"""For families whose pipelines take embeddings in the place of prompts, and LoRA."""
_SD15 = Preset(
    name="sd15",
    title="Stable Diffusion v1.5",
    pipelines={
        "txt2img": "StableDiffusionPipeline",
        "img2img": "StableDiffusionImg2ImgPipeline",
        "img2img+mask": "StableDiffusionInpaintPipeline",
        "txt2img+controlnet": "StableDiffusionControlNetPipeline",
        "img2img+controlnet": "StableDiffusionControlNetImg2ImgPipeline",
    },
    defaults={
        **_WEIGHED,
        "safety_checker": None,
        "strength": 0.8,
        "guidance_scale": 7.5,
        "num_inference_steps": 50,
        "scheduler": "PNDM",
    },
    defaults_of={
        "img2img+mask": {"strength": 1.0},
        "txt2img+controlnet": {"controlnet_conditioning_scale": 1.0, **WHOLE_RUN},
        "img2img+controlnet": {"controlnet_conditioning_scale": 0.8, **WHOLE_RUN},
    },
    tiny=Origin(checkpoint="sd15", native_size=128),
    hub=Origin(checkpoint="stable-diffusion-v1-5/stable-diffusion-v1-5", native_size=512, licence=OPEN_RAIL),
    controlnets=("depth",),
)


def _style(name: str, title: str, hub: str, trigger: str) -> Preset:
    return dataclasses.replace(
        _SD15,
        name=name,
        title=title,
        trigger=trigger,
        tiny=Origin(checkpoint=name, native_size=128),
        hub=Origin(checkpoint=hub, native_size=512, licence=OPEN_RAIL),
    )


_SDXL_DEFAULTS = {
    **_WEIGHED,
    "strength": 0.3,
    "guidance_scale": 5.0,
    "num_inference_steps": 50,
    "scheduler": "EulerDiscrete",
    "prompt_2": None,
    "negative_prompt_2": None,
}
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _SD15,
            _style("comic", "Comic-Diffusion", "ogkalu/Comic-Diffusion", "charliebo artstyle"),
            _style("pixel-art", "pixel-art-style", "kohbanye/pixel-art-style", "pixelartstyle"),
            _style("elden-ring", "elden-ring-diffusion", "nitrosocke/elden-ring-diffusion", "elden ring style"),
            Preset(
                name="sdxl",
                title="Stable Diffusion XL",
                pipelines={
                    "txt2img": "StableDiffusionXLPipeline",
                    "img2img": "StableDiffusionXLImg2ImgPipeline",
                    "img2img+mask": "StableDiffusionXLInpaintPipeline",
                },
                defaults=_SDXL_DEFAULTS,
                defaults_of={"img2img+mask": {"strength": 0.9999, "guidance_scale": 7.5}},
                tiny=Origin(checkpoint="sdxl", native_size=128),
                hub=Origin(
                    checkpoint="stabilityai/stable-diffusion-xl-base-1.0", native_size=1024, licence="CreativeML Open RAIL++-M"
                ),
            ),
            Preset(
                name="sdxl-refiner",
                title="Stable Diffusion XL refiner",
                pipelines={"img2img": "StableDiffusionXLImg2ImgPipeline"},
                defaults={**_SDXL_DEFAULTS, "aesthetic_score": 6.0, "negative_aesthetic_score": 2.5},
                tiny=Origin(checkpoint="sdxl-refiner", native_size=128),
                hub=Origin(
                    checkpoint="stabilityai/stable-diffusion-xl-refiner-1.0", native_size=1024, licence="CreativeML Open RAIL++-M"
                ),
            ),
            Preset(
                name="kandinsky22",
                title="Kandinsky 2.2",
                pipelines={"txt2img": "KandinskyV22CombinedPipeline", "img2img": "KandinskyV22Img2ImgCombinedPipeline"},
                defaults={
                    **_COMMON,
                    "strength": 0.3,
                    "guidance_scale": 4.0,
                    "num_inference_steps": 100,
                    "prior_guidance_scale": 4.0,
                    "prior_num_inference_steps": 25,
                    "scheduler": "DDPM",
                },
                schedulers=("DDPM",),
                # Its img2img pipeline encodes whatever it is given.
                takes_latents=False,
                # diffusers hands (width, height) to a function of (height, width): kandinsky2_2_img2img's preprocess.
                size_arguments={"height": "width", "width": "height"},
                tiny=Origin(checkpoint="kandinsky22", native_size=128, size_multiple=64),
                hub=Origin(checkpoint="kandinsky-community/kandinsky-2-2-decoder", native_size=512, size_multiple=64),
            ),
            Preset(
                name="x2-upscaler",
                title="x2 latent upscaler",
                pipelines={"img2img": "StableDiffusionLatentUpscalePipeline"},
                defaults={**_COMMON, "guidance_scale": 9.0, "num_inference_steps": 75, "scheduler": "EulerDiscrete"},
                schedulers=("EulerDiscrete", "HeunDiscrete"),
                scale=2,
                tiny=Origin(checkpoint="x2-upscaler", native_size=128, size_multiple=16),
                hub=Origin(
                    checkpoint="stabilityai/sd-x2-latent-upscaler",
                    native_size=512,
                    size_multiple=64,
                    licence="CreativeML Open RAIL++-M",
                ),
            ),
            Preset(
                name="x4-upscaler",
                title="x4 upscaler",
                pipelines={"img2img": "StableDiffusionUpscalePipeline"},
                defaults={
                    **_WEIGHED,
                    "safety_checker": None,
                    "guidance_scale": 9.0,
                    "num_inference_steps": 75,
                    "noise_level": 20,
                    "scheduler": "DDIM",
                },
                schedulers=("DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep"),
                scale=4,
                takes_latents=False,
                tiny=Origin(checkpoint="x4-upscaler", native_size=256),
                hub=Origin(
                    checkpoint="stabilityai/stable-diffusion-x4-upscaler", native_size=512, licence="CreativeML Open RAIL++-M"
                ),
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
    current = MOVED.get(model, model)
    for preset in PRESETS.values():
        if current == preset.hub.checkpoint:
            return preset
    family = _family_of(Path(model).expanduser() / "model_index.json")
    if family:
        return family
    advice = did_you_mean(model, PRESETS)
    if "/" in model:
        advice = f"For other weights of a family, give both: `--model sd15 --checkpoint {model}`."
    raise ParameterError(f"`model` must name a preset, got {model!r}. {advice}")


def _family_of(index: Path) -> Preset | None:
    """Find the family of a local directory by the pipeline class that it names."""
    if not index.is_file():
        return None
    try:
        named = json.loads(index.read_text("utf-8")).get("_class_name")
    except (ValueError, AttributeError):
        raise ParameterError(f"`model` must be a checkpoint in diffusers' layout; {index} is no valid JSON.") from None
    # The refiner and the base of SDXL share a class; the base comes with both ways to run.
    found: Iterable[Preset] = (preset for preset in PRESETS.values() if named in preset.pipelines.values())
    return next(iter(found), None)

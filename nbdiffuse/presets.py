"""Presets: what each model family is, as data, and how a recipe is completed from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .errors import ParameterError, did_you_mean
from .fitting import fitted_size
from .recipe import PARAMS, Recipe

SCHEDULERS = (
    "PNDM",
    "DDIM",
    "DDPM",
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "DPMSolverMultistep",
    "UniPCMultistep",
)
"""Schedulers of the epsilon-prediction families, by diffusers' class name without its suffix."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One model family with one checkpoint.

    Parameters
    ----------
    name, title
        What recipes and people call it.
    pipelines
        diffusers pipeline class for each task it can do.
    defaults
        Values for the fields that a recipe leaves open, and with that the fields it takes.
    schedulers
        Names that its `scheduler` may have.
    native_size
        Longer side, in pixels, that it was trained for; larger initial pictures
        are scaled down to it unless width or height is given.
    size_multiple
        Both sides of the result are multiples of this, in pixels.
    hub
        Id of the full-size checkpoint.
    """

    name: str
    title: str
    pipelines: Mapping[str, str]
    defaults: Mapping[str, Any]
    schedulers: tuple[str, ...] = SCHEDULERS
    native_size: int = 128
    size_multiple: int = 8
    hub: str = ""
    only_img2img: frozenset[str] = field(default=frozenset({"image", "strength", "resize_mode"}))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name="sd15",
                title="Stable Diffusion v1.5",
                pipelines={"txt2img": "StableDiffusionPipeline", "img2img": "StableDiffusionImg2ImgPipeline"},
                defaults={
                    "strength": 0.8,
                    "guidance_scale": 7.5,
                    "num_inference_steps": 50,
                    "negative_prompt": "",
                    "scheduler": "PNDM",
                    "resize_mode": "fit",
                },
                hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
            ),
        )
    }
)
"""Every preset, by name."""


def preset_of(model: str) -> Preset:
    """Return the preset that `model` names, or raise `ParameterError` with the nearest name."""
    if model not in PRESETS:
        raise ParameterError(f"`model` must name a preset, got {model!r}. {did_you_mean(model, PRESETS)}")
    return PRESETS[model]


def resolve(recipe: Recipe) -> Recipe:
    """Complete a recipe: the preset's defaults, the size of the result, a drawn seed.

    Parameters
    ----------
    recipe
        Any recipe; fields that are set stay as they are.

    Returns
    -------
    The complete recipe: what is run, hashed, shown and stored.

    Raises
    ------
    ParameterError
        The preset does not take a field, a value is not among its choices, or the
        strength leaves no step to run.
    """
    preset = preset_of(recipe.model)
    _refuse_what_it_does_not_take(recipe, preset)
    values: dict[str, Any] = {
        name: value
        for name, value in preset.defaults.items()
        if getattr(recipe, name) is None and not (recipe.task == "txt2img" and name in preset.only_img2img)
    }
    if recipe.seed is None:
        values["seed"] = secrets.randbelow(2**32)
    values["width"], values["height"] = _size(recipe, preset)
    complete = recipe.replace(**values)
    if complete.scheduler not in preset.schedulers:
        advice = did_you_mean(str(complete.scheduler), preset.schedulers)
        raise ParameterError(f"`scheduler` must be one that {preset.name} takes, got {complete.scheduler!r}. {advice}")
    if real_steps(complete) == 0:
        raise ParameterError(_no_steps(complete))
    return complete


def _refuse_what_it_does_not_take(recipe: Recipe, preset: Preset) -> None:
    if recipe.task not in preset.pipelines:
        raise ParameterError(f"`image` must be given: {preset.title} only does {', '.join(preset.pipelines)}.")
    always = {"prompt", "model", "image", "seed", "width", "height"}
    for name in PARAMS:
        if getattr(recipe, name) is None or name in always:
            continue
        if name not in preset.defaults:
            raise ParameterError(f"`{name}` is not taken by {preset.name} ({preset.title}). Leave it out.")
        if recipe.task == "txt2img" and name in preset.only_img2img:
            raise ParameterError(f"`{name}` needs an initial picture. Give `image`, or leave `{name}` out.")


def _size(recipe: Recipe, preset: Preset) -> tuple[int, int]:
    if recipe.image is None:
        return recipe.width or preset.native_size, recipe.height or preset.native_size
    return fitted_size(
        recipe.image.size,
        width=recipe.width,
        height=recipe.height,
        multiple=preset.size_multiple,
        limit=preset.native_size,
    )


def real_steps(recipe: Recipe) -> int:
    """Return how many of its `num_inference_steps` a complete recipe really runs.

    Image-to-image starts part of the way down the schedule and runs
    `min(int(num_inference_steps * strength), num_inference_steps)` steps.

    Source: diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`; the product is
    taken in the same floating point, so 50 * 0.58 gives 28 here as there.
    """
    steps = recipe.num_inference_steps or 0
    return steps if recipe.strength is None else min(int(steps * recipe.strength), steps)


def steps_line(recipe: Recipe) -> str:
    """Say in one line what will really run, such as "strength 0.62 × 20 → 12 steps"."""
    count = real_steps(recipe)
    steps = f"{count} step" if count == 1 else f"{count} steps"
    return steps if recipe.strength is None else f"strength {recipe.strength:g} × {recipe.num_inference_steps} → {steps}"


def _no_steps(recipe: Recipe) -> str:
    steps, strength = recipe.num_inference_steps or 1, recipe.strength or 0.0
    ways = [f"raise `strength` to at least {-(-100 // steps) / 100:g}"]
    if strength * 1000 >= 1:
        ways.append(f"raise `num_inference_steps` to at least {next(n for n in range(1, 1001) if int(n * strength) >= 1)}")
    else:
        ways.append("show the picture as it is, without a run")
    return f"`strength` must leave at least one step, got {strength:g} × {steps} = 0 steps. Either {ways[0]}, or {ways[1]}."

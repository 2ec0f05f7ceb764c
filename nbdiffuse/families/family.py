"""A family of models: what its pipelines are, and what no signature of theirs tells."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from .arguments import ARGUMENTS, OPEN
from .diffusers_classes import auto_pipelines, bases, call_defaults, init_defaults

_TASKS = {"txt2img": "txt2img", "img2img": "img2img", "img2img+mask": "inpaint"}
_BESIDE = ("", "+controlnet", "+controlnet-union", "+pag", "+controlnet+pag")
MODES = {
    **{mode + more: (task, more.replace("+", "-")) for more in _BESIDE for mode, task in _TASKS.items()},
    "edit": ("img2img", ""),
    "edit+mask": ("inpaint", ""),
}
"""Ways to run a family, each with the task and the ending of the key under which diffusers' automatic classes know it."""
PAG = ("pag_scale", "pag_adaptive_scale", "pag_applied_layers")
"""Arguments any of which asks for the mode with "+pag", perturbed-attention guidance."""
CALLED = ("strength", "guidance_scale", "num_inference_steps", "controlnet_conditioning_scale", *ARGUMENTS)
"""Fields of a recipe whose default is the pipeline call's own."""
UNION = "ControlNetUnionModel"
"""diffusers' class of ControlNets that are told by `control_mode` what their picture is, where this is a class of its own."""
WHOLE_RUN = {"control_guidance_start": 0.0, "control_guidance_end": 1.0}
ONLY_WITH_PICTURE = frozenset(
    {
        "image",
        "image_reference",
        "strength",
        "noise",
        "image_guidance_scale",
        "denoising_start",
        "resize_mode",
        "align",
        "keep_color",
        "mask_image",
        "mask_overlay",
        "mask_crop",
        "mask_invert",
        "mask_grow",
        "mask_blur",
        "mask_content",
        "mask_differential",
        "extend",
        "aesthetic_score",
        "negative_aesthetic_score",
    }
)
"""Fields that need an initial picture."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of models.

    Parameters
    ----------
    key
        diffusers' own key of it in `auto_pipeline.py`, such as "stable-diffusion-xl".
    title
        What people call it.
    modes
        Keys of `MODES` that are offered.
    classes
        Pipelines for modes that diffusers' automatic classes do not know.
    broken
        Modes that diffusers has a pipeline for which cannot run, each with what is wrong.
    steps
        How `strength` decides the number of steps, a key of `step_rules.RULES`; a mode without one runs all.
    size_multiple
        Both sides of what its pipelines are given are multiples of this, in pixels, unless a checkpoint says more.
    size_arguments
        Arguments of the img2img call that take the size, each with the recipe's field; empty where the picture decides.
    area_argument
        Argument of its calls that takes the number of pixels, where height and width only give the proportions.
    fixed
        Arguments that its calls are always given.
    guidance_rows
        Rows of one model call with guidance: 2 for one with the prompt and one without.
    square
        Whether its img2img pipeline runs squares alone.
    references
        How many pictures beside the initial one a mode takes at most; none for a mode that is not named.
    least_side, most_ratio
        What each picture that it edits or looks at has: sides in pixels, and the longer one over the shorter.
    most_area
        Pixels that the result of a mode has at most, where its pipeline makes larger ones smaller.
    scale
        Sides of the result over sides of the initial picture.
    takes_latents
        Whether its img2img pipeline goes on from latents of its own VAE.
    gives_latents
        Whether a pipeline that takes latents of the same VAE goes on from those of its results; as `takes_latents` when None.
    packed
        Whether a step's latents are a row of 2x2 patches, see `pipelines.packed_latents`.
    strength_is_start
        Whether its pipelines use `strength` in `get_timesteps` alone, so that the same number of steps is the same picture.
    adds_noise_itself
        Whether its pipelines add as much noise as the strength says, and not as the first step has.
    shift_rule
        How its pipelines shift a flow's noise levels by the size of the picture, see `flow_schedule`.
    scheduler
        Kind of scheduler that it runs on, see `scheduler_classes`: "noise" or "flow".
    scheduler_needs
        What its pipelines need of a scheduler: "generator" for one whose `step` takes a
        generator and whose latents go to the model as they are, "sigmas" for one that
        keeps its noise levels in `sigmas` and scales the latents by them, "shift" for one that is
        given the noise levels and how far to shift them, "denoised" for one that gives the
        clean latents beside the next ones, "" for nothing special.
    known_by_parts
        Whether its checkpoints are told by their components, since many pipelines are saved from the same ones.
    saved_as
        Beginnings of the pipeline classes that its checkpoints are saved from; those of `pipelines` when empty.
    unet_channels
        Channels that a UNet of it may take, those for inpainting among them; empty without a UNet.
    mask_channels
        Of these the ones that its inpainting pipeline runs; all of them when empty.
    masks_latents
        Modes whose call takes the latents that are under a mask at the start, and whose callback may change the mask.
    unseeded
        Modes whose pipelines draw some numbers without the generator that they are given.
    missing_config
        Settings that a mode's pipeline reads from its transformer's config, where no checkpoint of the family says them.
    controlnet
        Class of the ControlNets that its modes with one take, "" where its own denoiser takes their picture; modes with
        "+controlnet-union" take `UNION`.
    most_controlnets
        How many of them a run takes at most.
    libraries
        What has to be installed beside this package to run it, as it is imported; the extra "vision" brings it.
    left_out
        Fields that its calls have and its models do not use.
    limits
        Greatest values of arguments that its calls take, where the argument itself may be greater.
    """

    key: str
    title: str
    modes: tuple[str, ...] = ("txt2img", "img2img", "img2img+mask")
    classes: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    steps: str = "floor"
    size_multiple: int = 8
    size_arguments: Mapping[str, str] = field(default_factory=dict)
    area_argument: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    guidance_rows: int = 2
    square: bool = False
    references: Mapping[str, int] = field(default_factory=dict)
    least_side: int = 1
    most_ratio: float = math.inf
    most_area: Mapping[str, int] = field(default_factory=dict)
    scale: int = 1
    takes_latents: bool = True
    gives_latents: bool | None = None
    packed: bool = False
    strength_is_start: bool = True
    adds_noise_itself: bool = False
    shift_rule: str = "linear"
    scheduler: str = "noise"
    scheduler_needs: str = ""
    known_by_parts: bool = False
    saved_as: tuple[str, ...] = ()
    unet_channels: tuple[int, ...] = ()
    mask_channels: tuple[int, ...] = ()
    masks_latents: frozenset[str] = frozenset()
    unseeded: frozenset[str] = frozenset()
    missing_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    controlnet: str = "ControlNetModel"
    most_controlnets: float = math.inf
    libraries: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that some mode takes besides prompt, pictures and size."""
        return frozenset(name for mode in self.pipelines for name in self.defaults(mode))

    @cached_property
    def takes_ip_adapters(self) -> bool:
        """Whether all its pipelines take the pictures of IP-Adapters, and its UNet their attention."""
        calls = [call_defaults(pipeline) for pipeline in self.pipelines.values()]
        return self.scheduler == "noise" and all("ip_adapter_image" in call for call in calls)

    @cached_property
    def pipelines(self) -> Mapping[str, str]:
        """diffusers' pipeline class for each mode."""
        found = {mode: self.classes.get(mode) or auto_pipelines(task).get(self.key + end) for mode, (task, end) in MODES.items()}
        return MappingProxyType({mode: name for mode in self.modes if (name := found[mode])})

    def defaults(self, mode: str) -> dict[str, Any]:
        """Return the fields that a mode takes besides prompt, pictures and size, each with its default.

        A default is that of the pipeline's call; None for a field that may stay open.
        """
        pipeline = self.pipelines[mode]
        call = call_defaults(pipeline)
        values: dict[str, Any] = {}
        if "negative_prompt" in call:
            values["negative_prompt"] = ""
        values |= {name: call[name] for name in CALLED if name in call}
        inits = init_defaults(pipeline)
        values |= {name: inits[name] for name in ARGUMENTS if name in inits and name not in values}
        values = {name: None if name in OPEN or value is inspect.Parameter.empty else value for name, value in values.items()}
        if "strength" in values:
            values["noise"] = None
        if "control_guidance_start" in call:
            values |= WHOLE_RUN
        if "control_mode" in call:
            values["control_mode"] = None
        if mode != "txt2img":
            values["resize_mode"] = "fit"
        if "+mask" in mode:
            values["mask_overlay"] = "exact"
            values |= {"mask_crop": None} if "padding_mask_crop" in call else {}
        if "vae" in inits:
            values["vae"] = None
        if "safety_checker" in inits:
            values["safety_checker"] = None
        if "prompt_embeds" in call:
            values["weighting"] = "none"
        if any("LoraLoader" in base for base in bases(pipeline)):
            values["lora"] = None
        if "StableDiffusionMixin" in bases(pipeline):
            values["freeu"] = None
        # Elsewhere it is not CLIP alone that reads the prompt, and some of the pipelines cannot load one.
        if self.scheduler == "noise" and any("TextualInversionLoader" in base for base in bases(pipeline)):
            values["embedding"] = None
        absent = self.left_out | (ONLY_WITH_PICTURE if mode.startswith("txt2img") else frozenset())
        return {name: value for name, value in values.items() if name not in absent}

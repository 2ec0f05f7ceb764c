"""Arguments that only some families' calls take, under diffusers' own names: what each may hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from . import number_lists
from .diffusers_classes import MAPPINGS, UNKNOWN, auto_pipelines, call_defaults, may_take
from .parameters import Param

ARGUMENTS: Mapping[str, Param] = MappingProxyType(
    {
        "prompt_2": Param(str, "prompt of the second text encoder"),
        "negative_prompt_2": Param(str, "negative prompt of the second text encoder"),
        "aesthetic_score": Param(float, "score the SDXL refiner aims at", 0, 10, 0.5),
        "negative_aesthetic_score": Param(float, "score the SDXL refiner keeps away from", 0, 10, 0.5),
        "image_guidance_scale": Param(
            float, "how strongly the picture holds while it is edited; higher stays closer", 1, 100, 0.1, usual=(1, 4)
        ),
        "true_cfg_scale": Param(
            float, "pull away from the negative prompt, where there is one; 1 is none", 0, 100, 0.5, usual=(1, 10)
        ),
        "max_sequence_length": Param(int, "longest prompt that the text encoder reads", 1, 1024, 1, unit="of tokens"),
        "cfg_normalization": Param(bool, "keep the guided prediction no larger than the one that follows the prompt"),
        "cfg_truncation": Param(float, "part of the schedule that is guided; above 1 all of it", 0, 2, 0.05, usual=(0, 1)),
        "original_inference_steps": Param(
            int, "steps of the distillation that the run's are chosen from; the scheduler's own", 1, 1000, 1, unit="of steps"
        ),
        "prior_guidance_scale": Param(float, "guidance of Kandinsky's prior", 0, 100, 0.5, usual=(1, 20)),
        "prior_num_inference_steps": Param(int, "steps of Kandinsky's prior", 1, 1000, 1, unit="of steps", usual=(1, 100)),
        "clip_skip": Param(int, "last layers of the text encoder that are left out; 1 is A1111's 2", 0, 24, 1, usual=(0, 4)),
        "guidance_rescale": Param(float, "bring a guided prediction back to the spread of the unguided one", 0, 1, 0.05),
        "denoising_start": Param(
            float, "part of the schedule that a picture has had already: it goes on from latents with noise", 0, 1, 0.05
        ),
        "denoising_end": Param(float, "part of the schedule after which the run stops, with noise left", 0, 1, 0.05),
        "eta": Param(float, "noise that DDIM and TCD add at each step; 0 is none", 0, 1, 0.05),
        "timesteps": Param(
            str, "timesteps of one's own: 999,850,500,200", checked=number_lists.checked, written=number_lists.text_of, bars=True
        ),
        "sigmas": Param(
            str,
            "noise levels of one's own: 14.6,3.9,1.4,0.4,0",
            checked=number_lists.checked,
            written=number_lists.text_of,
            bars=True,
        ),
        "pag_scale": Param(
            float,
            "perturbed-attention guidance: how far from what blurred attention draws; 0 is none",
            0,
            100,
            0.5,
            usual=(0, 10),
        ),
        "pag_adaptive_scale": Param(
            float,
            "how fast perturbed-attention guidance fades; by this times the timesteps that are done",
            0,
            1,
            0.001,
            usual=(0, 0.02),
        ),
        "pag_applied_layers": Param(str, "layers whose attention is perturbed, as parts of their names: mid, or mid+up_blocks.1"),
        "freeu": Param(
            str,
            "FreeU's factors s1,s2,b1,b2: skips are weakened, the backbone is strengthened; 0.9,0.2,1.5,1.6",
            checked=number_lists.checked_freeu,
            written=number_lists.text_of,
            bars=True,
        ),
        "noise_level": Param(int, "noise the x4 upscaler adds to its picture", 0, 350, 1),
    }
)
"""Arguments with a range and a help text; any other number or text of a call is taken as its signature says."""
OPEN = frozenset({"clip_skip", "guidance_rescale", "denoising_start", "denoising_end", "eta", "timesteps", "sigmas", "freeu"})
"""Arguments that stay open in a complete recipe where nobody sets them: what the call then does is what it did before."""


def argument(name: str) -> Param | None:
    """Return what an argument may hold, or None where no pipeline of diffusers' automatic classes has a call that takes it.

    Parameters
    ----------
    name
        diffusers' own, such as "true_cfg_scale".
    """
    return ARGUMENTS.get(name) or _from_signatures(name)


@cache
def _from_signatures(name: str) -> Param | None:
    """Find a number, text or switch that some call takes; asked only for a name that nothing else knows."""
    if name in NOT_ARGUMENTS or name.startswith("_"):
        return None
    for pipeline in dict.fromkeys(name for task in MAPPINGS for name in auto_pipelines(task).values()):
        try:
            default = call_defaults(pipeline).get(name, UNKNOWN) if may_take(pipeline, name) else UNKNOWN
        except Exception:  # its library is not installed
            continue
        if (param := _param(name, default)) is not None:
            return param
    return None


NOT_ARGUMENTS = frozenset({"output_type", "return_dict", "num_images_per_prompt", "max_area"})
"""What a call takes and this package decides itself."""


def _param(name: str, default: Any) -> Param | None:
    help_text = name.replace("_", " ")
    if isinstance(default, (bool, int, float, str)):
        return Param(type(default), help_text)
    return None

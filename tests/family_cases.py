"""Calls of the families whose weights do not come with the package, as a person makes them and as a recipe says them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import tiny_families
import torch
from PIL import Image

from nbdiffuse import Recipe

PROMPT = "a red house"
AUTOMATIC = {
    "txt2img": "AutoPipelineForText2Image",
    "img2img": "AutoPipelineForImage2Image",
    "inpaint": "AutoPipelineForInpainting",
}
INPAINTED = {"inpaint": AUTOMATIC["inpaint"]}
REDRAWN = {mode: AUTOMATIC[mode] for mode in ("txt2img", "img2img")}


@dataclass(frozen=True)
class Case:
    """A checkpoint of `tiny_families`, and how its family is called.

    Parameters
    ----------
    family
        Key of its family.
    modes
        Each with the class that loads it.
    checkpoint
        Its name in `tiny_families`; the case's own when not given.
    net
        A ControlNet of `tiny_families` that all calls have beside it.
    options
        What the pipeline's constructor takes, which a recipe says as one text.
    size
        Width and height of the pictures; not square, so that a picture that is squeezed shows.
    values
        Arguments that its calls take, beside those that all take.
    latents
        Whether results keep their latents.
    previews
        Whether steps have a preview.
    flow
        Whether it is a family of flow matching.
    """

    family: str
    modes: dict[str, str] = field(default_factory=lambda: AUTOMATIC)
    checkpoint: str = ""
    net: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (80, 64)
    values: dict[str, Any] = field(default_factory=dict)
    latents: bool = True
    previews: bool = True
    flow: bool = True


CASES = {
    "flux-dev": Case(
        "flux",
        values={"true_cfg_scale": 2.0, "negative_prompt": "blue", "prompt_2": "a tree", "guidance_scale": 3.5},
    ),
    "flux-schnell": Case("flux", values={"max_sequence_length": 32}),
    "qwenimage": Case("qwenimage", values={"negative_prompt": "blue", "true_cfg_scale": 3.0}, latents=False),
    "z-image": Case("z-image", values={"negative_prompt": "blue", "cfg_normalization": True, "cfg_truncation": 0.5}),
    "chroma": Case(
        "chroma", {"txt2img": AUTOMATIC["txt2img"], "img2img": "ChromaImg2ImgPipeline"}, values={"negative_prompt": "blue"}
    ),
}
CASES |= {
    "lcm": Case("lcm", REDRAWN, values={"guidance_scale": 4.0, "original_inference_steps": 40}, flow=False),
    "kandinsky21": Case(
        "kandinsky",
        REDRAWN,
        size=(128, 128),
        values={"negative_prompt": "blue", "prior_num_inference_steps": 3, "prior_guidance_scale": 2.0},
        latents=False,
        flow=False,
    ),
    "kandinsky3": Case("kandinsky3", REDRAWN, size=(128, 64), values={"negative_prompt": "blue"}, latents=False, flow=False),
}
CASES |= {
    "sd": Case("stable-diffusion", values={"negative_prompt": "blue"}, flow=False),
    "sd-inpainting": Case("stable-diffusion", INPAINTED, values={"negative_prompt": "blue", "strength": 0.9}, flow=False),
    "sdxl-inpainting": Case("stable-diffusion-xl", INPAINTED, values={"prompt_2": "a tree"}, flow=False),
    "kandinsky21-inpainting": Case(
        "kandinsky", INPAINTED, size=(128, 64), values={"negative_prompt": "blue", "prior_num_inference_steps": 3}, flow=False
    ),
    "kandinsky22-inpainting": Case(
        "kandinsky22", INPAINTED, size=(128, 64), values={"prior_guidance_scale": 2.0, "prior_num_inference_steps": 3}, flow=False
    ),
    "sd-controlnet": Case(
        "stable-diffusion",
        checkpoint="sd",
        net="sd-controlnet",
        values={"controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.6},
        latents=False,
        flow=False,
    ),
    "sd-inpainting-controlnet": Case(
        "stable-diffusion", INPAINTED, checkpoint="sd-inpainting", net="sd-controlnet", latents=False, flow=False
    ),
    "sdxl-instruct-pix2pix": Case(
        "stable-diffusion-xl-instruct-pix2pix",
        {"edit": "StableDiffusionXLInstructPix2PixPipeline"},
        values={"negative_prompt": "blue", "prompt_2": "a tree", "image_guidance_scale": 2.0},
        flow=False,
    ),
    "sdxl-controlnet": Case("stable-diffusion-xl", checkpoint="sdxl", net="sdxl-controlnet", latents=False, flow=False),
}
CASES["sdxl-controlnet-union"] = Case(
    "stable-diffusion-xl",
    {
        "txt2img": "StableDiffusionXLControlNetUnionPipeline",
        "img2img": "StableDiffusionXLControlNetUnionImg2ImgPipeline",
        "inpaint": "StableDiffusionXLControlNetUnionInpaintPipeline",
    },
    checkpoint="sdxl",
    net="sdxl-controlnet-union",
    values={"control_mode": 3, "controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.6},
    latents=False,
    flow=False,
)
_PAG: dict[str, Any] = {
    "values": {"pag_scale": 2.0, "pag_adaptive_scale": 0.001},
    "options": {"pag_applied_layers": ["mid", "up_blocks.0"]},
    "flow": False,
}
CASES |= {
    "sd-pag": Case(
        "stable-diffusion",
        {
            "txt2img": "StableDiffusionPAGPipeline",
            "img2img": "StableDiffusionPAGImg2ImgPipeline",
            "inpaint": "StableDiffusionPAGInpaintPipeline",
        },
        checkpoint="sd",
        **_PAG,
    ),
    "sdxl-pag": Case(
        "stable-diffusion-xl",
        {
            "txt2img": "StableDiffusionXLPAGPipeline",
            "img2img": "StableDiffusionXLPAGImg2ImgPipeline",
            "inpaint": "StableDiffusionXLPAGInpaintPipeline",
        },
        checkpoint="sdxl",
        **_PAG,
    ),
    "sd-controlnet-pag": Case(
        "stable-diffusion",
        {"txt2img": "StableDiffusionControlNetPAGPipeline", "inpaint": "StableDiffusionControlNetPAGInpaintPipeline"},
        checkpoint="sd",
        net="sd-controlnet",
        **_PAG,
    ),
    "sdxl-controlnet-pag": Case(
        "stable-diffusion-xl",
        {"txt2img": "StableDiffusionXLControlNetPAGPipeline", "img2img": "StableDiffusionXLControlNetPAGImg2ImgPipeline"},
        checkpoint="sdxl",
        net="sdxl-controlnet",
        latents=False,
        **_PAG,
    ),
}
MODES = [(name, mode) for name, case in CASES.items() for mode in case.modes]
REDRAWING = [name for name, case in CASES.items() if {"txt2img", "img2img"} <= set(case.modes)]
"""Cases whose checkpoints draw from a prompt and redraw a picture."""
FLOWS = [name for name, case in CASES.items() if case.flow]


def picture(size: tuple[int, int], turned: bool = False) -> Image.Image:
    made = Image.linear_gradient("L").resize(size).convert("RGB")
    return made.rotate(180) if turned else made


def mask(size: tuple[int, int]) -> Image.Image:
    made = Image.new("L", size, 0)
    made.paste(255, (20, 10, 60, 50))
    return made


def given(name: str, mode: str) -> dict[str, Any]:
    """Return the pictures of a mode, or the size where there are none."""
    width, height = CASES[name].size
    if mode == "txt2img":
        return {"width": width, "height": height}
    pictures: dict[str, Any] = {"image": picture((width, height))}
    return pictures if mode in ("img2img", "edit") else {**pictures, "mask_image": mask((width, height))}


def control(size: tuple[int, int]) -> Image.Image:
    return picture(size).rotate(90)


def recipe_of(name: str, mode: str, checkpoints: Path, **more: Any) -> Recipe:
    case = CASES[name]
    directory = tiny_families.write(case.checkpoint or name, checkpoints)
    values = {"num_inference_steps": 4, "seed": 3, **given(name, mode), **case.values, **more}
    values |= {option: "+".join(names) for option, names in case.options.items() if option not in more}
    if case.net:
        values |= {"controlnet": str(tiny_families.write(case.net, checkpoints)), "control_image": control(case.size)}
    if mode == "inpaint":
        values["mask_overlay"] = "none"
    return Recipe(prompt=PROMPT, model=str(directory), **values)


def loaded(name: str, mode: str, checkpoints: Path) -> Any:
    """Load a case's pipeline as a person would."""
    case = CASES[name]
    more = dict(case.options)
    if case.net:
        more["controlnet"] = diffusers.AutoModel.from_pretrained(str(tiny_families.write(case.net, checkpoints)))
    directory = tiny_families.write(case.checkpoint or name, checkpoints)
    return getattr(diffusers, case.modes[mode]).from_pretrained(directory, **more)


def by_hand(
    name: str, mode: str, checkpoints: Path, prepare: Callable[[Any], None] | None = None, bare: bool = False, **more: Any
) -> Any:
    """Make the call as a person would, and return the pipeline and what it gives; a bare one without the case's `values`."""
    case = CASES[name]
    pipeline = loaded(name, mode, checkpoints)
    pipeline.set_progress_bar_config(disable=True)
    if prepare is not None:
        prepare(pipeline)
    call = {"prompt": PROMPT, "num_inference_steps": 4, **given(name, mode), **({} if bare else case.values), **more}
    accepted = set(inspect.signature(pipeline.__call__).parameters)
    if {"width", "height"} <= accepted:
        call |= {"width": case.size[0], "height": case.size[1]}
    if case.net:
        call["control_image" if "control_image" in accepted else "image"] = control(case.size)
    return pipeline, pipeline(**call, generator=torch.Generator("cpu").manual_seed(3)).images

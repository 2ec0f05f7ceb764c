"""Calls of transformers that take more than a picture and a strength: as a person makes them, and as a recipe says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import tiny_families
import torch
from PIL import Image

from nbdiffuse import Recipe

PROMPT = "put the red sofa into the room"
SIZE = (96, 64)


def picture(size: tuple[int, int] = SIZE, turns: int = 0) -> Image.Image:
    made = Image.linear_gradient("L").resize(size)
    bands = [made.rotate(90 * (turns + band)).resize(size) for band in range(3)]
    return Image.merge("RGB", bands)


def mask() -> Image.Image:
    made = Image.new("L", SIZE, 0)
    made.paste(255, (20, 10, 70, 50))
    return made


IMAGE, SOFA, LAMP = picture(), picture((80, 112), 1), picture((70, 131), 2)
"""The picture that is redrawn, and two further ones of other sizes, one of them no multiple of 16."""


@dataclass(frozen=True)
class FlowCase:
    """A way to run a checkpoint.

    Parameters
    ----------
    checkpoint
        A key of `tiny_flows.MAKERS` or `tiny_families.MAKERS`.
    family
        Key of its family.
    pipeline
        Class that runs it.
    call
        Arguments of the call that the recipe names alike.
    said
        What the recipe says in other words, such as references.
    raw
        What the call gets for that.
    previews
        Whether steps have a preview.
    config
        What the transformer's config has to say for this pipeline.
    of_torch
        Whether its numbers are drawn with torch's own generator, since the call draws with that one as well.
    nets
        ControlNets beside it, keys of `tiny_flows.CONTROLNETS`, each with what is said of it; each follows another picture.
    options
        What the pipeline's constructor gets beside components.
    """

    checkpoint: str
    family: str
    pipeline: str
    call: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    previews: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)
    of_torch: bool = False
    nets: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


KLEIN = ("flux2-klein", "flux2-klein", "Flux2KleinPipeline")
_KLEIN_CALL = {"max_sequence_length": 64}
_SIZED = {"width": SIZE[0], "height": SIZE[1]}
_KONTEXT_INPAINT = ("flux-kontext", "flux-kontext", "FluxKontextInpaintPipeline")
_KONTEXT_SIZE = {"max_area": SIZE[0] * SIZE[1], "_auto_resize": False}
_KLEIN_INPAINT = ("flux2-klein", "flux2-klein", "Flux2KleinInpaintPipeline")
_FILL = ("flux-fill", "flux-fill", "FluxFillPipeline")
_MASKED = {"image": IMAGE, "mask_image": mask(), "mask_overlay": "none"}
_RAW = {"image": IMAGE, "mask_image": mask(), **_SIZED}
_QWEN_CALL = {"max_sequence_length": 64, "negative_prompt": "night", "true_cfg_scale": 3.0}
_QWEN_PLUS = ("qwen-edit-plus", "qwenimage-edit-plus", "QwenImageEditPlusPipeline")
CASES: dict[str, FlowCase] = {
    "kontext": FlowCase(
        "flux-kontext",
        "flux-kontext",
        "FluxKontextPipeline",
        {"guidance_scale": 5.0, "negative_prompt": "night", "true_cfg_scale": 3.0},
        {"image": IMAGE},
        {"image": IMAGE, **_SIZED, **_KONTEXT_SIZE},
    ),
    "klein": FlowCase(*KLEIN, _KLEIN_CALL, {"image": IMAGE}, {"image": IMAGE, **_SIZED}),
    "klein-three": FlowCase(
        *KLEIN, _KLEIN_CALL, {"image": IMAGE, "references": [SOFA, LAMP]}, {"image": [IMAGE, SOFA, LAMP], **_SIZED}
    ),
    "kontext-inpaint": FlowCase(
        *_KONTEXT_INPAINT,
        {"strength": 0.7, "negative_prompt": "night", "true_cfg_scale": 3.0},
        _MASKED,
        {**_RAW, **_KONTEXT_SIZE},
    ),
    "kontext-inpaint-reference": FlowCase(
        *_KONTEXT_INPAINT,
        {},
        {**_MASKED, "image_reference": LAMP},
        {**_RAW, **_KONTEXT_SIZE, "image_reference": LAMP},
    ),
    "klein-inpaint": FlowCase(*_KLEIN_INPAINT, {**_KLEIN_CALL, "strength": 0.6}, _MASKED, _RAW),
    "klein-inpaint-reference": FlowCase(
        *_KLEIN_INPAINT, _KLEIN_CALL, {**_MASKED, "image_reference": LAMP}, {**_RAW, "image_reference": LAMP}
    ),
    "fill": FlowCase(*_FILL, {}, _MASKED, _RAW),
    "qwen-edit": FlowCase(
        "qwen-edit", "qwenimage-edit", "QwenImageEditPipeline", _QWEN_CALL, {"image": IMAGE}, {"image": IMAGE, **_SIZED}
    ),
    "qwen-edit-plus": FlowCase(*_QWEN_PLUS, {"max_sequence_length": 64}, {"image": IMAGE}, {"image": IMAGE, **_SIZED}),
    "qwen-edit-plus-three": FlowCase(
        *_QWEN_PLUS, _QWEN_CALL, {"image": IMAGE, "references": [SOFA, LAMP]}, {"image": [IMAGE, SOFA, LAMP], **_SIZED}
    ),
    "fill-strength": FlowCase(*_FILL, {"strength": 0.5, "guidance_scale": 20.0, "max_sequence_length": 64}, _MASKED, _RAW),
}


CONTROLS = (picture(SIZE, 3), picture(SIZE, 1))
_FLUX_CALL = {"guidance_scale": 5.0, "max_sequence_length": 64}
_TRUE_CFG = {"negative_prompt": "night", "true_cfg_scale": 3.0}
_CONTROL = ("flux-control", "flux-control")
_ONE = (("flux-controlnet", {"scale": 0.7, "start": 0.0, "end": 0.7}),)
_ONE_RAW = {"controlnet_conditioning_scale": 0.7, "control_guidance_start": 0.0, "control_guidance_end": 0.7}
_TWO = (("flux-controlnet", {"scale": 0.7}), ("flux-controlnet", {"scale": 0.4}))
_UNION = (("flux-controlnet-union", {"mode": 2}),)
_DRAWN = {"width": SIZE[0], "height": SIZE[1]}
_STARTED = {"image": IMAGE, **_DRAWN}
FLUX_NETS = ("FluxControlNetPipeline", "FluxControlNetImg2ImgPipeline", "FluxControlNetInpaintPipeline")
CASES |= {
    "flux-controlnet": FlowCase(
        "flux-dev", "flux", FLUX_NETS[0], {**_FLUX_CALL, **_TRUE_CFG}, _DRAWN, {**_DRAWN, **_ONE_RAW}, nets=_ONE
    ),
    "flux-controlnet-two": FlowCase(
        "flux-dev", "flux", FLUX_NETS[0], _FLUX_CALL, _DRAWN, {**_DRAWN, "controlnet_conditioning_scale": [0.7, 0.4]}, nets=_TWO
    ),
    "flux-controlnet-union": FlowCase(
        "flux-dev", "flux", FLUX_NETS[0], _FLUX_CALL, _DRAWN, {**_DRAWN, "control_mode": 2}, nets=_UNION
    ),
    "flux-controlnet-img2img": FlowCase(
        "flux-dev", "flux", FLUX_NETS[1], {**_FLUX_CALL, "strength": 0.7}, {"image": IMAGE}, {**_STARTED, **_ONE_RAW}, nets=_ONE
    ),
    "flux-controlnet-inpaint": FlowCase(
        "flux-dev", "flux", FLUX_NETS[2], {**_FLUX_CALL, "strength": 0.7}, _MASKED, {**_RAW, **_ONE_RAW}, nets=_ONE
    ),
    "flux-control": FlowCase(
        *_CONTROL,
        "FluxControlPipeline",
        _FLUX_CALL,
        {**_DRAWN, "control_image": CONTROLS[0]},
        {**_DRAWN, "control_image": CONTROLS[0]},
    ),
    "flux-control-img2img": FlowCase(
        *_CONTROL,
        "FluxControlImg2ImgPipeline",
        {**_FLUX_CALL, "strength": 0.7},
        {"image": IMAGE, "control_image": CONTROLS[0]},
        {**_STARTED, "control_image": CONTROLS[0]},
    ),
    "flux-control-inpaint": FlowCase(
        *_CONTROL,
        "FluxControlInpaintPipeline",
        {**_FLUX_CALL, "strength": 0.7},
        {**_MASKED, "control_image": CONTROLS[0]},
        {**_RAW, "control_image": CONTROLS[0]},
    ),
    "chroma-inpaint": FlowCase(
        "chroma",
        "chroma",
        "ChromaInpaintPipeline",
        {"negative_prompt": "night", "strength": 0.7, "max_sequence_length": 64},
        _MASKED,
        _RAW,
        config={"guidance_embeds": False},
    ),
    "sd3-controlnet": FlowCase(
        "sd3",
        "stable-diffusion-3",
        "StableDiffusion3ControlNetPipeline",
        {"negative_prompt": "night"},
        _DRAWN,
        {**_DRAWN, "controlnet_conditioning_scale": 0.8},
        nets=(("sd3-controlnet", {"scale": 0.8}),),
        of_torch=True,
    ),
    "sd3-controlnet-two": FlowCase(
        "sd3",
        "stable-diffusion-3",
        "StableDiffusion3ControlNetPipeline",
        {"max_sequence_length": 64},
        _DRAWN,
        {**_DRAWN, "controlnet_conditioning_scale": [0.8, 0.5]},
        nets=(("sd3-controlnet", {"scale": 0.8}), ("sd3-controlnet", {"scale": 0.5})),
        of_torch=True,
    ),
    "sd3-pag": FlowCase(
        "sd3",
        "stable-diffusion-3",
        "StableDiffusion3PAGPipeline",
        {"negative_prompt": "night", "pag_scale": 2.0},
        _DRAWN,
        _DRAWN,
    ),
    "sd3-pag-img2img": FlowCase(
        "sd3",
        "stable-diffusion-3",
        "StableDiffusion3PAGImg2ImgPipeline",
        {"strength": 0.7, "pag_scale": 4.0, "pag_adaptive_scale": 0.5},
        {"image": IMAGE, "pag_applied_layers": "blocks.0"},
        _STARTED,
        options={"pag_applied_layers": ["blocks.0"]},
    ),
    "qwen-controlnet": FlowCase(
        "qwenimage",
        "qwenimage",
        "QwenImageControlNetPipeline",
        _QWEN_CALL,
        _DRAWN,
        {**_DRAWN, "controlnet_conditioning_scale": 0.8},
        nets=(("qwen-controlnet", {"scale": 0.8}),),
    ),
    "z-controlnet": FlowCase(
        "z-image",
        "z-image",
        "ZImageControlNetPipeline",
        {"negative_prompt": "night"},
        _DRAWN,
        {**_DRAWN, "controlnet_conditioning_scale": 0.6},
        nets=(("z-controlnet", {"scale": 0.6}),),
    ),
    "z-controlnet-inpaint": FlowCase(
        "z-image", "z-image", "ZImageControlNetInpaintPipeline", {}, _MASKED, _RAW, nets=(("z-controlnet-inpaint", {}),)
    ),
}


def recipe_of(name: str, checkpoints: Path, **more: Any) -> Recipe:
    case = CASES[name]
    directory = tiny_families.write(case.checkpoint, checkpoints)
    nets = [
        {"checkpoint": str(tiny_families.write(net, checkpoints)), "image": control, **said}
        for (net, said), control in zip(case.nets, CONTROLS, strict=False)
    ]
    values = {"num_inference_steps": 3, "seed": 3, **case.call, **case.said, "controlnets": nets, **more}
    values = {name: value for name, value in values.items() if name != "controlnets" or nets}
    return Recipe(**{"prompt": PROMPT, "model": str(directory), **values})


def pipeline_of(name: str, checkpoints: Path) -> Any:
    """Load the pipeline as a person would."""
    case = CASES[name]
    nets = [_loaded(tiny_families.write(net, checkpoints)) for net, _ in case.nets]
    given = {**({"controlnet": nets if len(nets) > 1 else nets[0]} if nets else {}), **case.options}
    pipeline = getattr(diffusers, case.pipeline).from_pretrained(tiny_families.write(case.checkpoint, checkpoints), **given)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.transformer.register_to_config(**case.config)
    return pipeline


def by_hand(name: str, checkpoints: Path, **more: Any) -> Image.Image:
    """Make the call as a person would."""
    case = CASES[name]
    pipeline = pipeline_of(name, checkpoints)
    controls = {"control_image": list(CONTROLS) if len(case.nets) > 1 else CONTROLS[0]} if case.nets else {}
    call = {"prompt": PROMPT, "num_inference_steps": 3, **case.call, **case.raw, **controls, **more}
    generator = torch.manual_seed(3) if case.of_torch else torch.Generator("cpu").manual_seed(3)
    made: Image.Image = pipeline(**call, generator=generator).images[0]
    return made


def _loaded(directory: Path) -> Any:
    kind = json.loads((directory / "config.json").read_text())["_class_name"]
    return getattr(diffusers, kind).from_pretrained(directory)

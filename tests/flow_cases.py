"""Calls of transformers that take more than a picture and a strength: as a person makes them, and as a recipe says them."""

from __future__ import annotations

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
    """

    checkpoint: str
    family: str
    pipeline: str
    call: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    previews: bool = True


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


def recipe_of(name: str, checkpoints: Path, **more: Any) -> Recipe:
    case = CASES[name]
    directory = tiny_families.write(case.checkpoint, checkpoints)
    values = {"num_inference_steps": 3, "seed": 3, **case.call, **case.said, **more}
    return Recipe(**{"prompt": PROMPT, "model": str(directory), **values})


def by_hand(name: str, checkpoints: Path, **more: Any) -> Image.Image:
    """Make the call as a person would."""
    case = CASES[name]
    pipeline = getattr(diffusers, case.pipeline).from_pretrained(tiny_families.write(case.checkpoint, checkpoints))
    pipeline.set_progress_bar_config(disable=True)
    call = {"prompt": PROMPT, "num_inference_steps": 3, **case.call, **case.raw, **more}
    made: Image.Image = pipeline(**call, generator=torch.Generator("cpu").manual_seed(3)).images[0]
    return made

"""Parity: a recipe's pixels are those of the raw diffusers call, byte for byte, for one list of rows.

A row is a checkpoint, a task, a scheduler with its settings, and arguments of the call. The
raw call is made as diffusers' documentation does: `from_pretrained`, `from_config`, the call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from PIL import Image

from nbdiffuse import Recipe, Session
from nbdiffuse.families.number_lists import LISTS, called_value
from nbdiffuse.recipes.fields import names_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
PROMPT, STEPS = "a red house", 4
SD, SDXL, FLOW, LCM = "sd", "sdxl", "flow", "lcm"
Row = tuple[str, str, str, dict[str, Any]]
KARRAS, EXPONENTIAL, BETA = ({f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta"))
TRAILING = {"timestep_spacing": "trailing"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
ROWS: tuple[Row, ...] = (
    (SD, "img2img", "PNDM", TRAILING),
    (SD, "img2img", "DDIM", {"timestep_spacing": "linspace", "eta": 0.7}),
    (SD, "txt2img", "DDIM", {**TRAILING, "guidance_rescale": 0.7}),
    (SD, "img2img", "DDPM", {"timestep_spacing": "linspace"}),
    (SD, "img2img", "DDPM", {"timesteps": "960,640,320,10"}),
    (SD, "txt2img", "EulerDiscrete", KARRAS),
    (SD, "img2img", "EulerDiscrete", EXPONENTIAL),
    (SD, "img2img", "EulerDiscrete", BETA),
    (SD, "inpaint", "EulerDiscrete", {"final_sigmas_type": "sigma_min"}),
    (SD, "txt2img", "EulerDiscrete", {"sigmas": "14.615,3.861,1.396,0.4,0"}),
    (SD, "img2img", "EulerDiscrete", {"timesteps": "999,700,400,100"}),
    (SD, "img2img", "EulerDiscrete", {"rescale_betas_zero_snr": True, **TRAILING}),
    (SD, "img2img", "EulerAncestralDiscrete", TRAILING),
    (SD, "txt2img", "HeunDiscrete", KARRAS),
    (SD, "img2img", "HeunDiscrete", {"timestep_spacing": "linspace"}),
    (SD, "img2img", "DPMSolverMultistep", KARRAS),
    (SD, "txt2img", "DPMSolverMultistep", SDE),
    (SD, "img2img", "DPMSolverMultistep", {**SDE, **KARRAS, "solver_order": 3}),
    (SD, "img2img", "DPMSolverMultistep", {**SDE, "solver_type": "heun"}),
    (SD, "img2img", "DPMSolverMultistep", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    (SD, "txt2img", "DPMSolverMultistep", {"use_lu_lambdas": True, "euler_at_final": True}),
    (SD, "inpaint", "DPMSolverMultistep", {"timesteps": "980,600,300,50", "eta": None}),
    (SD, "img2img", "DPMSolverSinglestep", {"solver_order": 3}),
    (SD, "txt2img", "DPMSolverSinglestep", {**SDE, **KARRAS}),
    (SD, "img2img", "UniPCMultistep", {**KARRAS, "solver_order": 3}),
    (SD, "txt2img", "UniPCMultistep", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    (SD, "img2img", "DEISMultistep", EXPONENTIAL),
    (SD, "img2img", "KDPM2Discrete", KARRAS),
    (SD, "txt2img", "KDPM2AncestralDiscrete", TRAILING),
    (SD, "img2img", "LMSDiscrete", BETA),
    (SD, "txt2img", "SASolver", {"algorithm_type": "noise_prediction"}),
    (SD, "img2img", "LCM", {"strength": 1.0}),
    (SD, "img2img", "TCD", {"eta": 0.3, "strength": 1.0}),
    (SD, "img2img", "DDIM", {"clip_skip": 1}),
    (SD, "txt2img", "EulerDiscrete", {"clip_skip": 2, "guidance_rescale": 1.0}),
    (SDXL, "txt2img", "EulerDiscrete", {"clip_skip": 1, **KARRAS}),
    (SDXL, "img2img", "DPMSolverMultistep", {**SDE, **TRAILING}),
    (SDXL, "img2img", "DDIM", {"eta": 1.0, "guidance_rescale": 0.5}),
    (SDXL, "inpaint", "UniPCMultistep", EXPONENTIAL),
    (SDXL, "txt2img", "HeunDiscrete", BETA),
    (FLOW, "txt2img", "FlowMatchEulerDiscrete", {"use_dynamic_shifting": False, "shift": 3.0}),
    (FLOW, "img2img", "FlowMatchEulerDiscrete", {**KARRAS, "use_dynamic_shifting": False}),
    (FLOW, "img2img", "FlowMatchEulerDiscrete", BETA),
    (FLOW, "img2img", "FlowMatchEulerDiscrete", {"sigmas": "1,0.7,0.4,0.1"}),
    (FLOW, "txt2img", "FlowMatchEulerDiscrete", EXPONENTIAL),
    (LCM, "img2img", "LCM", {"rescale_betas_zero_snr": False}),
)
SETTINGS = frozenset(names_of("scheduler_config"))
CLASSES = {
    "txt2img": "AutoPipelineForText2Image",
    "img2img": "AutoPipelineForImage2Image",
    "inpaint": "AutoPipelineForInpainting",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, family_checkpoints: Path) -> Callable[[str], Path]:
    """Return where a tiny checkpoint of a family is; it is made once."""
    folder = tmp_path_factory.mktemp("parity")

    @cache
    def get(key: str) -> Path:
        if key == SDXL:
            return tiny.write("sdxl", folder)
        if key in (FLOW, LCM):
            return tiny_families.write({FLOW: "flux-schnell", LCM: "lcm"}[key], family_checkpoints)
        from diffusers import PNDMScheduler, StableDiffusionPipeline

        torch.manual_seed(0)
        scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, **tiny._BETAS)
        parts = {"vae": tiny.vae(), "text_encoder": tiny.text_encoder(), "tokenizer": tiny.tokenizer(), "unet": tiny._unet()}
        made = StableDiffusionPipeline(
            **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        made.save_pretrained(folder / "sd")
        return folder / "sd"

    return get


def pictures(task: str) -> dict[str, Any]:
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (10, 10, 50, 50))
    return {"txt2img": {}, "img2img": {"image": picture}, "inpaint": {"image": picture, "mask_image": mask}}[task]


def by_hand(checkpoint: Path, task: str, scheduler: str, given: dict[str, Any]) -> bytes:
    import diffusers

    pipeline = getattr(diffusers, CLASSES[task]).from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    settings = {name: value for name, value in given.items() if name in SETTINGS}
    if "clip_skip" in given and not hasattr(pipeline, "text_encoder_2"):
        # diffusers looks for the last norm where transformers 5 does not have it.
        vars(pipeline.text_encoder).setdefault("text_model", pipeline.text_encoder)
    pipeline.scheduler = getattr(diffusers, f"{scheduler}Scheduler").from_config(pipeline.scheduler.config, **settings)
    call = {name: called_value(name, value) for name, value in given.items() if name not in SETTINGS and value is not None}
    size = {} if task == "img2img" and "flux" not in checkpoint.name else {"width": 64, "height": 64}
    steps = {} if set(LISTS) & set(call) else {"num_inference_steps": STEPS}
    if "sigmas" in call and "flux" in checkpoint.name:
        steps = {"num_inference_steps": len(call["sigmas"])}
    generator = torch.Generator("cpu").manual_seed(5)
    return bytes(pipeline(PROMPT, **pictures(task), **size, **steps, **call, generator=generator).images[0].tobytes())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join([*row[:3], *map(str, row[3])]))
def test_the_pixels_are_those_of_the_raw_call(row: Row, checkpoint: Callable[[str], Path], session: Session) -> None:
    key, task, scheduler, given = row
    theirs = by_hand(checkpoint(key), task, scheduler, given)
    steps = {} if set(LISTS) & set(given) else {"num_inference_steps": STEPS}
    size = {} if task != "txt2img" else {"width": 64, "height": 64}
    kept = {"mask_overlay": "none"} if task == "inpaint" else {}
    values = {**pictures(task), **steps, **size, **kept, **given, "scheduler": scheduler, "seed": 5}
    mine = session.run(Recipe(prompt=PROMPT, model=str(checkpoint(key)), **values))
    assert mine.image.tobytes() == theirs


def test_the_list_is_as_long_as_it_is_said_to_be_and_has_no_row_twice() -> None:
    assert len(ROWS) >= 40 and len({repr(row) for row in ROWS}) == len(ROWS)
    assert {row[0] for row in ROWS} == {SD, SDXL, FLOW, LCM}

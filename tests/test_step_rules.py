"""Steps that are foretold are those that diffusers' own rule gives, for every family, over the whole grid."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.step_rules import RULES
from nbdiffuse.recipes.presets import preset_of
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.recipes.summary import notices

CLASSES = {
    "StableDiffusionImg2ImgPipeline": "sd15",
    "StableDiffusionInpaintPipeline": "sd15",
    "StableDiffusionControlNetImg2ImgPipeline": "sd15",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "StableDiffusionXLControlNetImg2ImgPipeline": "sdxl",
    "KandinskyV22Img2ImgPipeline": "kandinsky22",
    "StableDiffusion3Img2ImgPipeline": None,
}
"""Classes with a rule of their own, and a preset that runs them; Stable Diffusion 3 has none, and rounds up."""
SCHEDULERS = (
    *("DDIM", "DDPM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep"),
    *("UniPCMultistep", "DEISMultistep", "LMSDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"),
)
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def scheduler_of(name: str, pipeline: str) -> Any:
    if pipeline.startswith("StableDiffusion3"):
        return diffusers.FlowMatchEulerDiscreteScheduler()
    settings = {**BETAS, **({"skip_prk_steps": True} if name == "PNDM" else {})}
    return getattr(diffusers, f"{name}Scheduler")(**settings)


def counted(pipeline: str, scheduler: Any, steps: int, strength: float) -> int:
    """Ask diffusers how many steps it runs."""
    rule = getattr(diffusers, pipeline).get_timesteps
    more = {"denoising_start": None} if "denoising_start" in inspect.signature(rule).parameters else {}
    timesteps, count = rule(SimpleNamespace(scheduler=scheduler), steps, strength, "cpu", **more)
    if scheduler.order == 1 and not isinstance(scheduler, diffusers.PNDMScheduler):
        assert len(timesteps) == count, (pipeline, steps, strength)
    return int(count)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("every", [pytest.param(11, id="a tenth"), pytest.param(1, id="full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("pipeline", CLASSES)
def test_the_steps_foretold_are_diffusers_own_over_the_grid(pipeline: str, every: int) -> None:
    model, wrong = CLASSES[pipeline], []
    rule = RULES[preset_of(model).step_rule if model else "ceil"]
    names = SCHEDULERS if not pipeline.startswith("StableDiffusion3") else ("FlowMatchEulerDiscrete",)
    for number, name in enumerate(names):
        scheduler = scheduler_of(name, pipeline)
        for steps in range(1 + number % every, 101, every):
            scheduler.set_timesteps(steps)
            scheduler.set_begin_index = lambda *_: None
            for hundredths in range(101):
                strength = hundredths / 100
                if rule(steps, strength) != counted(pipeline, scheduler, steps, strength):
                    wrong.append((name, steps, strength))
    assert wrong == []


@pytest.mark.parametrize("model", ["sd15", "sdxl", "kandinsky22"])
def test_what_is_foretold_is_said_and_no_steps_are_refused_with_the_ways_out(model: str, scene: Any) -> None:
    for steps, hundredths in ((1, 99), (2, 49), (3, 33), (7, 14), (50, 1), (50, 58), (100, 57), (1, 100), (33, 3), (99, 1)):
        strength = hundredths / 100
        recipe = Recipe(prompt="a cat", image=scene.image, model=model, num_inference_steps=steps, strength=strength, seed=1)
        expected = int(steps * strength)
        if expected == 0:
            with pytest.raises(ParameterError, match=r"= 0 steps|at least one step") as caught:
                resolve(recipe)
            assert "strength" in str(caught.value) and "num_inference_steps" in str(caught.value)
        else:
            complete = resolve(recipe)
            assert real_steps(complete) == expected and f"→ {expected} step" in notices(complete)[0]

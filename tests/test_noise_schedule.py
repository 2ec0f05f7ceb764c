"""The noise of a schedule's steps is what diffusers' own classes have, told without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.flow_schedule import flow_sigmas
from nbdiffuse.families.noise_schedule import noise_share, timesteps_and_sigmas
from nbdiffuse.families.scheduler_settings import check_settings
from nbdiffuse.recipes.steps import start_noise

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CLASSES = (
    "PNDM",
    "DDIM",
    "DDPM",
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "DPMSolverMultistep",
    "DPMSolverSinglestep",
    "UniPCMultistep",
    "DEISMultistep",
    "SASolver",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"timestep_spacing": "leading"},
    {"timestep_spacing": "linspace"},
    {"timestep_spacing": "trailing"},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"beta_schedule": "linear"},
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scheduler", CLASSES)
def test_timesteps_and_noise_of_every_step_are_those_of_the_class(scheduler: str) -> None:
    import diffusers

    compared = 0
    for settings in SETTINGS:
        config = {**BETAS, **({"skip_prk_steps": True} if scheduler == "PNDM" else {}), **settings}
        try:
            check_settings(scheduler, {name: value for name, value in settings.items() if name != "beta_schedule"}, BETAS)
        except ParameterError:
            continue
        for steps in (1, 4, 13, 50):
            made = getattr(diffusers, f"{scheduler}Scheduler").from_config(config)
            made.set_timesteps(steps)
            found = timesteps_and_sigmas(scheduler, config, steps)
            assert found is not None
            theirs = made.timesteps.numpy()[:: made.order]
            assert np.allclose(found[0], theirs, atol=1.01), (settings, steps, found[0], theirs)
            if hasattr(made, "sigmas"):
                levels = made.sigmas.numpy()[:-1]
                levels = levels[:: made.order] if made.order > 1 else levels
                levels = levels[: len(found[1])]
            else:
                cumulative = made.alphas_cumprod.numpy()[theirs.astype(int)]
                levels = np.sqrt((1 - cumulative) / cumulative)
            shares = [noise_share(level) for level in levels]
            assert np.allclose([noise_share(sigma) for sigma in found[1]], shares, atol=0.004), (settings, steps)
            compared += 1
    assert compared >= 16


def test_a_share_of_noise_is_the_same_number_in_both_parametrisations() -> None:
    for cumulative in (0.9999, 0.5, 0.0047):
        sigma = math.sqrt((1 - cumulative) / cumulative)
        assert noise_share(sigma) == pytest.approx(math.sqrt(1 - cumulative), abs=1e-12)


def test_what_is_not_known_is_not_told() -> None:
    assert timesteps_and_sigmas("EDMEuler", BETAS, 4) is None and timesteps_and_sigmas("NoSuch", BETAS, 4) is None
    assert timesteps_and_sigmas("EulerDiscrete", {**BETAS, "beta_schedule": "sigmoid"}, 4) is None
    assert timesteps_and_sigmas("DPMSolverMultistep", {**BETAS, "use_flow_sigmas": True}, 4) is None
    assert flow_sigmas("FlowMatchEulerDiscrete", {"invert_sigmas": True}, 4, (64, 64)) is None
    assert flow_sigmas("FlowMatchLCM", {}, 4, (64, 64)) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("scheduler", [name for name in CLASSES if name != "SASolver"])
def test_the_share_that_a_result_tells_is_measured_in_the_latents_that_its_run_begins_with(
    scheduler: str, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    taken: list[tuple[Any, Any, Any]] = []
    made = getattr(diffusers, f"{scheduler}Scheduler")
    original = made.add_noise

    def add_noise(self: Any, samples: Any, noise: Any, timesteps: Any) -> Any:
        taken.append((samples, noise, original(self, samples, noise, timesteps)))
        return taken[-1][2]

    monkeypatch.setattr(made, "add_noise", add_noise)
    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    for strength in (0.3, 0.8):
        recipe = Recipe(prompt="a cat", image=picture, scheduler=scheduler, num_inference_steps=5, strength=strength, seed=1)
        told = session.run(recipe).noise_share
        samples, noise, mixed = (one.numpy().ravel() for one in taken[-1])
        (signal, amount), *_ = np.linalg.lstsq(np.stack([samples, noise], axis=1), mixed, rcond=None)
        assert told == pytest.approx(amount / math.hypot(signal, amount), abs=0.01)


def test_where_a_share_is_not_known_none_is_told() -> None:
    picture = Image.new("RGB", (64, 64))
    assert start_noise(resolve(Recipe(prompt="a cat"))) == 1
    assert start_noise(resolve(Recipe(prompt="a cat", image=picture, mask_image=Image.new("L", (64, 64)), strength=1.0))) == 1
    assert start_noise(resolve(Recipe(prompt="a cat", image=picture, model="edit"))) is None
    listed = Recipe(prompt="a cat", image=picture, scheduler="EulerDiscrete", timesteps="900,500,100", strength=0.7)
    assert start_noise(resolve(listed)) == pytest.approx(0.8507, abs=0.001)

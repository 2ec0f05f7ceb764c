"""The noise of a schedule's steps is what diffusers' own classes have, told without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nbdiffuse.errors import ParameterError
from nbdiffuse.families.noise_schedule import noise_share, timesteps_and_sigmas
from nbdiffuse.families.scheduler_settings import check_settings

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
    assert timesteps_and_sigmas("LCM", BETAS, 4) is None and timesteps_and_sigmas("NoSuch", BETAS, 4) is None
    assert timesteps_and_sigmas("EulerDiscrete", {**BETAS, "beta_schedule": "sigmoid"}, 4) is None
    assert timesteps_and_sigmas("DPMSolverMultistep", {**BETAS, "use_lu_lambdas": True}, 4) is None

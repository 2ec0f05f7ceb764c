"""What is set of a scheduler: every class of diffusers with every value of every setting runs, or is refused in one line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.scheduler_classes import names, scheduler_class
from nbdiffuse.families.scheduler_settings import check_settings, has_setting
from nbdiffuse.families.schedulers import FLOW_SCHEDULERS, SCHEDULERS
from nbdiffuse.recipes.fields import OF_PARTS, names_of
from nbdiffuse.recipes.steps import model_calls, steps_line

SETTINGS = names_of("scheduler_config")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def values(name: str) -> tuple[Any, ...]:
    param = OF_PARTS[name].param
    return param.choices or {bool: (True, False), int: (1, 2, 3), float: (0.5, 1.0, 3.0)}[param.kind]


def walked(scheduler: str, config: dict[str, Any], settings: dict[str, Any]) -> torch.Tensor:
    """Take four steps of a scheduler that is made as a pipeline's is, with a prediction that is always the same."""
    import diffusers

    made = getattr(diffusers, f"{scheduler}Scheduler").from_config(config, **settings)
    generator = torch.Generator("cpu").manual_seed(0)
    sample, model = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    dynamic = {"mu": 1.0} if getattr(made.config, "use_dynamic_shifting", False) else {}
    made.set_timesteps(4, **dynamic)
    more = {"generator": generator} if (found := scheduler_class(scheduler)) and found.takes_generator else {}
    for timestep in made.timesteps:
        sample = made.step(model, timestep, sample, **more).prev_sample
    return sample


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, *FLOW_SCHEDULERS])
def test_every_value_of_every_setting_runs_or_is_refused(scheduler: str) -> None:
    config = {} if scheduler in FLOW_SCHEDULERS else BETAS
    for name in SETTINGS:
        for value in values(name):
            given = {name: value}
            try:
                check_settings(scheduler, given, config)
            except ParameterError as error:
                assert f"`{name}` must" in str(error) or "`final_sigmas_type` must" in str(error)
                continue
            assert torch.isfinite(walked(scheduler, config, given)).all(), (scheduler, given)


@pytest.mark.parametrize(
    "scheduler", ["DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver"]
)
def test_settings_of_solvers_go_together_or_are_refused(scheduler: str) -> None:
    kinds = ("algorithm_type", "solver_order", "solver_type", "final_sigmas_type", "use_karras_sigmas")
    had = [name for name in kinds if has_setting(scheduler, name)]
    ran = 0
    for chosen in itertools.product(*([None, *values(name)] for name in had)):
        given = {name: value for name, value in zip(had, chosen, strict=True) if value is not None}
        try:
            check_settings(scheduler, given, BETAS)
        except ParameterError:
            continue
        assert torch.isfinite(walked(scheduler, BETAS, given)).all(), given
        ran += 1
    assert ran >= 8


@pytest.mark.parametrize("theirs", ["DPMSolverMultistep", "DEISMultistep", "UniPCMultistep", "SASolver", "EulerDiscrete"])
def test_a_checkpoint_of_any_solver_runs_on_any_other_or_the_line_says_what_to_set(theirs: str) -> None:
    import diffusers

    config = dict(getattr(diffusers, f"{theirs}Scheduler")(**BETAS).config)
    for scheduler in SCHEDULERS:
        if scheduler_class(scheduler).kind != "noise":
            continue
        try:
            check_settings(scheduler, {}, config)
        except ParameterError as error:
            assert "Set it" in str(error)
            continue
        assert torch.isfinite(walked(scheduler, config, {})).all()


def test_a_setting_that_a_class_says_it_has_changes_what_it_does() -> None:
    inert = []
    for scheduler in (*SCHEDULERS, *FLOW_SCHEDULERS):
        config = {} if scheduler in FLOW_SCHEDULERS else BETAS
        for name in SETTINGS:
            if not has_setting(scheduler, name):
                continue
            seen = set()
            for value in values(name):
                given = {name: value}
                if name == "rescale_betas_zero_snr":
                    config = {**BETAS, "prediction_type": "v_prediction"}
                if name == "euler_at_final":
                    given["lower_order_final"] = False
                if value in ("dpmsolver", "bh1") or name in ("lower_order_final", "euler_at_final"):
                    # They matter where the last step does not end at zero.
                    given["final_sigmas_type"] = "sigma_min"
                    given = {one: held for one, held in given.items() if has_setting(scheduler, one)}
                try:
                    check_settings(scheduler, given, config)
                except ParameterError:
                    continue
                seen.add(walked(scheduler, config, given).numpy().tobytes())
            if len(seen) < 2:
                inert.append((scheduler, name))
    assert inert == [], inert


def test_every_setting_is_a_constructor_argument_of_some_class() -> None:
    for name in SETTINGS:
        assert any(has_setting(scheduler, name) for scheduler in names())


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"scheduler": "DDIM", "use_karras_sigmas": True},
            r"left out with DDIM, which does not follow it\. Those that do: EulerD",
        ),
        ({"use_beta_sigmas": True, "use_karras_sigmas": True, "scheduler": "EulerDiscrete"}, r"must be the only one of its kind"),
        ({"scheduler": "DPMSolverMultistep", "algorithm_type": "deis"}, r"must be one of dpmsolver, .* for DPMSolverMultistep"),
        ({"scheduler": "DPMSolverMultistep", "algorithm_type": "dpmsolver"}, r"`final_sigmas_type` must be sigma_min where"),
        ({"scheduler": "LCM", "timestep_spacing": "trailing"}, r"`timestep_spacing` must be left out with LCM"),
        ({"shift": 3}, r"`shift` is not taken by sd15"),
        ({"solver_order": 4}, r"`solver_order` must be a whole number in \[1, 3\], got 4"),
        ({"timestep_spacing": "trailling"}, r"Did you mean 'trailing'"),
    ],
)
def test_what_a_scheduler_does_not_follow_is_refused_with_a_way_out(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError, match=line):
        resolve(Recipe(prompt="a cat", **given))


@pytest.mark.parametrize(
    ("name", "scheduler", "settings"),
    [
        ("Euler a", "EulerAncestralDiscrete", {}),
        ("DPM++ 2M Karras", "DPMSolverMultistep", {"use_karras_sigmas": True}),
        ("dpmpp_2m_sde", "DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_another_tools_name_stands_for_a_class_and_its_settings(name: str, scheduler: str, settings: dict[str, Any]) -> None:
    complete = resolve(Recipe(prompt="a cat", scheduler=name, seed=1))
    assert complete == resolve(Recipe(prompt="a cat", scheduler=scheduler, seed=1, **settings))
    assert Recipe.from_json(complete.to_json()) == complete


def test_what_is_set_counts_in_the_model_calls_that_are_told() -> None:
    def calls(**given: Any) -> int | None:
        return model_calls(resolve(Recipe(prompt="a cat", num_inference_steps=13, **given)))

    assert calls(scheduler="DDIM") == 13 and calls(scheduler="HeunDiscrete") == 25
    trailing = resolve(Recipe(prompt="a cat", num_inference_steps=49, scheduler="PNDM", timestep_spacing="trailing"))
    import diffusers

    made = diffusers.PNDMScheduler.from_config({**BETAS, "skip_prk_steps": True}, timestep_spacing="trailing")
    made.set_timesteps(49)
    assert model_calls(trailing) == len(made.timesteps)
    assert steps_line(resolve(Recipe(prompt="a cat", scheduler="Heun Karras", num_inference_steps=5))) == "5 steps, 9 model calls"

"""Scheduler names: what the samplers of other tools are called here."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nbdiffuse.families.scheduler_names import _KNOWN, _LISTED, A1111, sampler_of, schedule_of, written
from nbdiffuse.families.scheduler_table import HEAD, TOOLS, rows


@pytest.mark.parametrize(
    ("name", "scheduler", "settings"),
    [
        ("Euler a", "EulerAncestralDiscrete", {}),
        ("euler_ancestral", "EulerAncestralDiscrete", {}),
        ("k_euler_a", "EulerAncestralDiscrete", {}),
        ("euler", "EulerDiscrete", {}),
        ("DPM++ 2M Karras", "DPMSolverMultistep", {"use_karras_sigmas": True}),
        ("dpmpp_2m_k", "DPMSolverMultistep", {"use_karras_sigmas": True}),
        ("k_dpmpp_2m_ka", "DPMSolverMultistep", {"use_karras_sigmas": True}),
        ("dpmpp_2m_sde_gpu", "DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
        ("DPM2 a Karras", "KDPM2AncestralDiscrete", {"use_karras_sigmas": True}),
        ("LMS Exponential", "LMSDiscrete", {"use_exponential_sigmas": True}),
        ("Euler SGM Uniform", "EulerDiscrete", {"timestep_spacing": "trailing"}),
        ("uni_pc_bh2", "UniPCMultistep", {}),
        ("plms", "PNDM", {}),
        ("DPM fast", None, {}),
        ("er_sde", None, {}),
    ],
)
def test_a_sampler_of_another_tool_means_a_class_and_its_settings(name: str, scheduler: str | None, settings: object) -> None:
    sampler = sampler_of(name)
    assert sampler is not None and (sampler.scheduler, dict(sampler.settings)) == (scheduler, settings)


@pytest.mark.parametrize("word", ["", "k", "karras", "Eulr", "EulerDiscrete", "a", "2M", "DPM++ 2M Turbo"])
def test_what_is_no_sampler_name_means_nothing(word: str) -> None:
    assert sampler_of(word) is None


def test_every_class_of_the_table_is_one_of_diffusers_and_takes_the_settings() -> None:
    import diffusers

    named = {name for module in diffusers._import_structure.values() for name in module}
    for sampler in _KNOWN.values():
        for scheduler in (sampler.scheduler, sampler.nearest):
            assert scheduler is None or f"{scheduler}Scheduler" in named
        if sampler.scheduler and sampler.settings:
            taken = inspect.signature(getattr(diffusers, f"{sampler.scheduler}Scheduler").__init__).parameters
            assert set(sampler.settings) <= set(taken)


def test_the_table_is_read_in_both_directions() -> None:
    assert len(set(A1111.values())) == len(A1111)


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
KARRAS, SDE = {"use_karras_sigmas": True}, {"algorithm_type": "sde-dpmsolver++"}
CONSTRUCTED: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    # InvokeAI `schedulers.py: SCHEDULER_MAP`, what it hands to `from_config`.
    "InvokeAI": {
        "ddim": ("DDIM", {}),
        "ddpm": ("DDPM", {}),
        "deis": ("DEISMultistep", {"use_karras_sigmas": False}),
        "deis_k": ("DEISMultistep", KARRAS),
        "lms": ("LMSDiscrete", {"use_karras_sigmas": False}),
        "lms_k": ("LMSDiscrete", KARRAS),
        "pndm": ("PNDM", {}),
        "heun": ("HeunDiscrete", {"use_karras_sigmas": False}),
        "heun_k": ("HeunDiscrete", KARRAS),
        "euler": ("EulerDiscrete", {"use_karras_sigmas": False}),
        "euler_k": ("EulerDiscrete", KARRAS),
        "euler_a": ("EulerAncestralDiscrete", {}),
        "kdpm_2": ("KDPM2Discrete", {"use_karras_sigmas": False}),
        "kdpm_2_k": ("KDPM2Discrete", KARRAS),
        "kdpm_2_a": ("KDPM2AncestralDiscrete", {"use_karras_sigmas": False}),
        "kdpm_2_a_k": ("KDPM2AncestralDiscrete", KARRAS),
        "dpmpp_2s": ("DPMSolverSinglestep", {"use_karras_sigmas": False, "solver_order": 2}),
        "dpmpp_2s_k": ("DPMSolverSinglestep", {"solver_order": 2, **KARRAS}),
        "dpmpp_2m": ("DPMSolverMultistep", {"use_karras_sigmas": False, "solver_order": 2}),
        "dpmpp_2m_k": ("DPMSolverMultistep", {"solver_order": 2, **KARRAS}),
        "dpmpp_2m_sde": ("DPMSolverMultistep", {"use_karras_sigmas": False, "solver_order": 2, **SDE}),
        "dpmpp_2m_sde_k": ("DPMSolverMultistep", {"solver_order": 2, **SDE, **KARRAS}),
        "dpmpp_3m": ("DPMSolverMultistep", {"use_karras_sigmas": False, "solver_order": 3}),
        "dpmpp_3m_k": ("DPMSolverMultistep", {"solver_order": 3, **KARRAS}),
        "unipc": ("UniPCMultistep", {"use_karras_sigmas": False}),
        "unipc_k": ("UniPCMultistep", KARRAS),
        "lcm": ("LCM", {}),
        "tcd": ("TCD", {}),
    },
    # SD.Next `sd_samplers_diffusers.py: config`, where it says more than the class does.
    "SD.Next": {
        "UniPC": ("UniPCMultistep", {"solver_order": 2, "solver_type": "bh2"}),
        "DDIM": ("DDIM", {"timestep_spacing": "leading"}),
        "Euler": ("EulerDiscrete", {"timestep_spacing": "linspace"}),
        "Euler a": ("EulerAncestralDiscrete", {"timestep_spacing": "linspace"}),
        "Euler SGM": ("EulerDiscrete", {"timestep_spacing": "trailing"}),
        "Euler FlowMatch": ("FlowMatchEulerDiscrete", {"shift": 1, "use_dynamic_shifting": False}),
        "Heun FlowMatch": ("FlowMatchHeunDiscrete", {"shift": 1}),
        "DPM++": ("DPMSolverSinglestep", {"solver_order": 2, "algorithm_type": "dpmsolver++", "solver_type": "midpoint"}),
        "DPM++ 1S": ("DPMSolverMultistep", {"solver_order": 1, "algorithm_type": "dpmsolver++"}),
        "DPM++ 2M": ("DPMSolverMultistep", {"solver_order": 2, "algorithm_type": "dpmsolver++", "solver_type": "midpoint"}),
        "DPM++ 3M": ("DPMSolverMultistep", {"solver_order": 3, "algorithm_type": "dpmsolver++"}),
        "DPM++ 2M SDE": ("DPMSolverMultistep", {"solver_order": 2, **SDE}),
        "Heun": ("HeunDiscrete", {"timestep_spacing": "linspace"}),
        "DEIS": ("DEISMultistep", {"solver_order": 2, "algorithm_type": "deis"}),
        "SA Solver": ("SASolver", {"timestep_spacing": "linspace"}),
        "LCM": ("LCM", {}),
        "TCD": ("TCD", {}),
        "PNDM": ("PNDM", {}),
        "DDPM": ("DDPM", {}),
        "LMSD": ("LMSDiscrete", {"timestep_spacing": "linspace"}),
        "KDPM2": ("KDPM2Discrete", {"timestep_spacing": "linspace"}),
        "KDPM2 a": ("KDPM2AncestralDiscrete", {"timestep_spacing": "linspace"}),
    },
}
NEEDS_TORCHSDE = {"dpmpp_sde", "dpmpp_sde_k", "DPM SDE"}


@pytest.mark.parametrize(("tool", "name"), [(tool, name) for tool, table in CONSTRUCTED.items() for name in table])
def test_a_name_constructs_here_what_it_constructs_there(tool: str, name: str) -> None:
    import diffusers

    theirs, settings = CONSTRUCTED[tool][name]
    sampler = sampler_of(name)
    assert sampler is not None and sampler.scheduler == theirs
    made = getattr(diffusers, f"{theirs}Scheduler")(**sampler.settings)
    assert {key: made.config[key] for key in settings} == settings


def test_every_name_of_the_listing_is_compared_or_needs_another_library() -> None:
    for tool, table in CONSTRUCTED.items():
        assert set(TOOLS[tool]) - NEEDS_TORCHSDE == set(table)
    assert all(sampler_of(name) is not None for names in TOOLS.values() for name in names)
    assert all(len(row) == len(HEAD) and any(row[2:]) for row in rows())


def theirs(label: str, steps: int) -> list[float]:
    """Return the noise levels of a schedule by the formulas of k-diffusion, AUTOMATIC1111 and ComfyUI, without the last zero."""
    import numpy as np
    from scipy import stats

    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    cumulative = np.cumprod(1 - betas)
    levels = np.sqrt((1 - cumulative) / cumulative)
    low, high = levels[0], levels[-1]
    formulas = {
        "Karras": lambda: (high ** (1 / 7) + np.linspace(0, 1, steps) * (low ** (1 / 7) - high ** (1 / 7))) ** 7,
        "Exponential": lambda: np.exp(np.linspace(np.log(high), np.log(low), steps)),
        "Beta": lambda: low + stats.beta.ppf(1 - np.linspace(0, 1, steps), 0.6, 0.6) * (high - low),
        "SGM Uniform": lambda: np.interp(np.linspace(999, 0, steps + 1)[:-1], np.arange(1000), levels),
        "simple": lambda: np.array([levels[-(1 + int(step * 1000 / steps))] for step in range(steps)]),
        "Uniform": lambda: np.interp(np.linspace(999, 0, steps), np.arange(1000), levels),
        "DDIM": lambda: levels[1 :: 1000 // steps][::-1],
    }
    return list(formulas[label]())


@pytest.mark.parametrize("scheduler", ["EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep", "LMSDiscrete"])
@pytest.mark.parametrize("name", ["Karras", "Exponential", "Beta", "SGM Uniform", "simple", "Uniform", "normal", "DDIM"])
def test_a_schedule_has_the_noise_levels_of_the_tools_own_formula(name: str, scheduler: str) -> None:
    import diffusers
    import numpy as np

    found = schedule_of(name)
    assert found is not None
    label, settings = found
    made = getattr(diffusers, f"{scheduler}Scheduler")(steps_offset=1, **{**BETAS, **settings})
    made.set_timesteps(20)
    levels = np.unique(made.sigmas.numpy())[::-1]
    levels = levels[levels > 0][:20]
    expected = np.array(theirs("simple" if name == "simple" else label, 20))
    # Whole timesteps stand for those between; the last level of all may be the scheduler's own.
    if settings.get("timestep_spacing") == "linspace" and scheduler in ("DPMSolverMultistep", "UniPCMultistep"):
        # These count one step more, and leave the last one out.
        expected = np.array(theirs(label, 21))[:20]
    elif label == "DDIM" and scheduler in ("DPMSolverMultistep", "UniPCMultistep"):
        expected = np.array(theirs(label, 21))[-21:-1]
    assert np.allclose(levels[:19], expected[:19], rtol=0.02), (levels, expected)


def test_what_is_written_in_other_tools_words_is_read_back() -> None:
    for sampler in _LISTED:
        for schedule in ("", "Karras", "Exponential", "Beta", "SGM Uniform", "Uniform", "DDIM"):
            settings = {**sampler.settings, **(schedule_of(schedule)[1] if schedule else {}), "euler_at_final": True}
            name, label, rest = written(str(sampler.scheduler), settings)
            assert rest == {"euler_at_final": True} and label == schedule
            back = sampler_of(name)
            assert back is not None and back.scheduler == sampler.scheduler
            assert {**back.settings, **(schedule_of(label)[1] if label else {}), **rest} == settings

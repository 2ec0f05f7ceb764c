"""Scheduler names: what the samplers of other tools are called here."""

from __future__ import annotations

import inspect

import pytest

from nbdiffuse.families.scheduler_names import _KNOWN, A1111, sampler_of


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

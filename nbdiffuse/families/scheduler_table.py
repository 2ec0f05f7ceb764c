"""Samplers as a table: each class and its settings, and what other tools call it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .scheduler_names import sampler_of

TOOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AUTOMATIC1111": (
            "Euler a",
            "Euler",
            "LMS",
            "Heun",
            "DPM2",
            "DPM2 a",
            "DPM++ 2S",
            "DPM++ 2M",
            "DPM++ SDE",
            "DPM++ 2M SDE",
            "DPM++ 2M SDE Heun",
            "DPM++ 3M SDE",
            "LMS Karras",
            "DPM2 Karras",
            "DPM2 a Karras",
            "DPM++ 2M Karras",
            "DPM++ SDE Karras",
            "DPM++ 2M SDE Karras",
            "DPM++ 2M SDE Exponential",
            "DPM++ 3M SDE Karras",
            "DPM++ 3M SDE Exponential",
            "DDIM",
            "PLMS",
            "UniPC",
            "LCM",
        ),
        "ComfyUI": (
            "euler",
            "euler_ancestral",
            "heun",
            "dpm_2",
            "dpm_2_ancestral",
            "lms",
            "dpmpp_sde",
            "dpmpp_2m",
            "dpmpp_2m_sde",
            "dpmpp_3m_sde",
            "ddpm",
            "lcm",
            "deis",
            "ddim",
            "uni_pc_bh2",
            "sa_solver",
        ),
        "InvokeAI": (
            "ddim",
            "ddpm",
            "deis",
            "deis_k",
            "lms",
            "lms_k",
            "pndm",
            "heun",
            "heun_k",
            "euler",
            "euler_k",
            "euler_a",
            "kdpm_2",
            "kdpm_2_k",
            "kdpm_2_a",
            "kdpm_2_a_k",
            "dpmpp_2s",
            "dpmpp_2s_k",
            "dpmpp_2m",
            "dpmpp_2m_k",
            "dpmpp_2m_sde",
            "dpmpp_2m_sde_k",
            "dpmpp_3m",
            "dpmpp_3m_k",
            "dpmpp_sde",
            "dpmpp_sde_k",
            "unipc",
            "unipc_k",
            "lcm",
            "tcd",
        ),
        "SD.Next": (
            "UniPC",
            "DDIM",
            "Euler",
            "Euler a",
            "Euler SGM",
            "Euler FlowMatch",
            "DPM++",
            "DPM++ 1S",
            "DPM++ 2M",
            "DPM++ 3M",
            "DPM++ 2M SDE",
            "DPM SDE",
            "Heun",
            "Heun FlowMatch",
            "DEIS",
            "SA Solver",
            "LCM",
            "TCD",
            "PNDM",
            "DDPM",
            "LMSD",
            "KDPM2",
            "KDPM2 a",
        ),
    }
)
"""Names of each tool that a scheduler class of diffusers does the same as.

Source: AUTOMATIC1111 `modules/sd_samplers_kdiffusion.py` and `sd_samplers_timesteps.py`, ComfyUI `comfy/samplers.py`,
InvokeAI `backend/stable_diffusion/schedulers/schedulers.py`, SD.Next `modules/sd_samplers_diffusers.py`.
"""
HEAD = ("scheduler", "settings", *TOOLS)


def rows() -> list[tuple[str, ...]]:
    """Return a row for each class with its settings that some tool has a name for, under the names of `HEAD`."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for tool, names in TOOLS.items():
        for name in names:
            sampler = sampler_of(name)
            if sampler is not None and sampler.scheduler is not None:
                settings = ", ".join(f"{key} {str(value).lower()}" for key, value in sampler.settings.items())
                found.setdefault((sampler.scheduler, settings), {}).setdefault(tool, name)
    return [(*key, *(called.get(tool, "") for tool in TOOLS)) for key, called in sorted(found.items())]

"""Sampler names of AUTOMATIC1111, ComfyUI, Fooocus and InvokeAI, and the diffusers scheduler that does the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

_NONE: Mapping[str, Any] = MappingProxyType({})
_SDE = MappingProxyType({"algorithm_type": "sde-dpmsolver++"})


@dataclass(frozen=True)
class Sampler:
    """What a sampler name of another tool means in diffusers.

    Parameters
    ----------
    name
        As AUTOMATIC1111 writes it, or ComfyUI where that has no such sampler.
    scheduler
        diffusers' class name without "Scheduler"; None where no class does the same.
    settings
        Constructor arguments of that class that the name asks for, such as
        {"use_karras_sigmas": True}; empty where the class alone does the same.
    nearest
        The most similar class, where none does the same.
    """

    name: str
    scheduler: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    nearest: str | None = None


A1111: Mapping[str, str] = MappingProxyType(
    {
        "Euler a": "EulerAncestralDiscrete",
        "Euler": "EulerDiscrete",
        "DDIM": "DDIM",
        "DDPM": "DDPM",
        "PLMS": "PNDM",
        "Heun": "HeunDiscrete",
        "DPM++ 2M": "DPMSolverMultistep",
        "UniPC": "UniPCMultistep",
        "LMS": "LMSDiscrete",
        "DPM2": "KDPM2Discrete",
        "DPM2 a": "KDPM2AncestralDiscrete",
        "DPM++ 2S": "DPMSolverSinglestep",
        "DPM++ SDE": "DPMSolverSDE",
        "DEIS": "DEISMultistep",
        "LCM": "LCM",
        "TCD": "TCD",
        "SA Solver": "SASolver",
    }
)
"""Sampler names that one scheduler class alone does the same as; each class once, so it is read in both directions."""
_WITH_SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "DPM++ 2M SDE": ("DPMSolverMultistep", _SDE),
    "DPM++ 2M SDE Heun": ("DPMSolverMultistep", {**_SDE, "solver_type": "heun"}),
    "DPM++ 3M": ("DPMSolverMultistep", {"solver_order": 3}),
    "DPM++ 3M SDE": ("DPMSolverMultistep", {**_SDE, "solver_order": 3}),
}
_NOT_HERE: Mapping[str, str | None] = {
    "DPM++ 2S a": "DPMSolverSinglestep",
    "DPM fast": None,
    "DPM adaptive": None,
    "Restart": "EulerDiscrete",
    "DDIM CFG++": "DDIM",
    "euler_cfg_pp": "EulerDiscrete",
    "euler_ancestral_cfg_pp": "EulerAncestralDiscrete",
    "dpmpp_2m_cfg_pp": "DPMSolverMultistep",
    "dpmpp_2s_ancestral_cfg_pp": "DPMSolverSinglestep",
    "heunpp2": "HeunDiscrete",
    "ipndm": "PNDM",
    "ipndm_v": "PNDM",
    "res_multistep": "DPMSolverMultistep",
    "res_multistep_cfg_pp": "DPMSolverMultistep",
    "res_multistep_ancestral": "DPMSolverMultistep",
    "res_multistep_ancestral_cfg_pp": "DPMSolverMultistep",
    "gradient_estimation": "EulerDiscrete",
    "gradient_estimation_cfg_pp": "EulerDiscrete",
    "er_sde": None,
    "exp_heun_2_x0": None,
    "exp_heun_2_x0_sde": None,
    "seeds_2": None,
    "seeds_3": None,
    "sa_solver_pece": "SASolver",
}
"""Samplers that no scheduler class of diffusers does the same as, each with the most similar one."""
_SAME: Mapping[str, str] = {
    "euler_ancestral": "Euler a",
    "pndm": "PLMS",
    "dpm_2_ancestral": "DPM2 a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "dpm_ad": "DPM adaptive",
}
"""Further spellings: ComfyUI's, InvokeAI's and the API's of AUTOMATIC1111."""
_KARRAS = ("Karras", {"use_karras_sigmas": True})
_EXPONENTIAL = ("Exponential", {"use_exponential_sigmas": True})
_TRAILING = {"timestep_spacing": "trailing"}
_SCHEDULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "karras": _KARRAS,
    "ka": _KARRAS,
    "k": _KARRAS,
    "exponential": _EXPONENTIAL,
    "exp": _EXPONENTIAL,
    "beta": ("Beta", {"use_beta_sigmas": True}),
    "trailing": ("Trailing", _TRAILING),
    "sgmuniform": ("SGM Uniform", _TRAILING),
    "simple": ("Simple", _TRAILING),
}
"""Noise schedules as they stand behind a sampler's name: how AUTOMATIC1111 writes each, and what it sets."""


def sampler_of(name: str) -> Sampler | None:
    """Return what a sampler name of another tool means, or None where it is no such name.

    Case, blanks, hyphens and underscores do not matter, and neither do `k_` in front
    and `_gpu` behind.

    Parameters
    ----------
    name
        Such as "Euler a", "DPM++ 2M Karras", "dpmpp_2m_sde_gpu" or "euler_k".

    Examples
    --------
    >>> sampler_of("Euler a").scheduler
    'EulerAncestralDiscrete'
    >>> sampler_of("DPM++ 2M Karras").settings
    {'use_karras_sigmas': True}

    Notes
    -----
    Source: diffusers `docs/api/schedulers/overview.md`, AUTOMATIC1111
    `modules/sd_samplers_kdiffusion.py`, ComfyUI `comfy/samplers.py`, InvokeAI
    `backend/stable_diffusion/schedulers/schedulers.py`.
    """
    words = _words(name)
    words = words[1:] if words[:1] == ["k"] else words
    words = words[:-1] if words[-1:] == ["gpu"] else words
    for behind in range(min(3, len(words))):
        base, schedule = "".join(words[: len(words) - behind]), "".join(words[len(words) - behind :])
        sampler = _KNOWN.get(base)
        if sampler is not None and not behind:
            return sampler
        if sampler is not None and schedule in _SCHEDULES:
            label, settings = _SCHEDULES[schedule]
            return replace(sampler, name=f"{sampler.name} {label}", settings={**sampler.settings, **settings})
    return None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.casefold().replace("++", "pp").replace("dpm pp", "dpmpp"))


def _table() -> dict[str, Sampler]:
    listed = [Sampler(name, scheduler) for name, scheduler in A1111.items()]
    listed += [Sampler(name, scheduler, settings) for name, (scheduler, settings) in _WITH_SETTINGS.items()]
    listed += [Sampler(name, None, _NONE, nearest) for name, nearest in _NOT_HERE.items()]
    known = {"".join(_words(sampler.name)): sampler for sampler in listed}
    return known | {"".join(_words(spelling)): known["".join(_words(name))] for spelling, name in _SAME.items()}


_KNOWN = _table()

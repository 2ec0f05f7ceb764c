"""Sampler names of AUTOMATIC1111, ComfyUI, Fooocus, InvokeAI and SD.Next, and the diffusers scheduler that does the same."""

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
        "Euler FlowMatch": "FlowMatchEulerDiscrete",
        "Heun FlowMatch": "FlowMatchHeunDiscrete",
    }
)
"""Sampler names that one scheduler class alone does the same as; each class once, so it is read in both directions."""
_WITH_SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "DPM++ 2M SDE": ("DPMSolverMultistep", _SDE),
    "DPM++ 2M SDE Heun": ("DPMSolverMultistep", {**_SDE, "solver_type": "heun"}),
    "DPM++ 1S": ("DPMSolverMultistep", {"solver_order": 1}),
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
    "DPM++": "DPM++ 2S",
    "DPM SDE": "DPM++ SDE",
    "LMSD": "LMS",
}
"""Further spellings: ComfyUI's, InvokeAI's, SD.Next's and the API's of AUTOMATIC1111."""
_SCHEDULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **dict.fromkeys(("karras", "ka", "k"), ("Karras", {"use_karras_sigmas": True})),
    # A polyexponential schedule of rho 1, which is the tools' own, is this one.
    **dict.fromkeys(("exponential", "exp", "polyexponential"), ("Exponential", {"use_exponential_sigmas": True})),
    "beta": ("Beta", {"use_beta_sigmas": True}),
    **dict.fromkeys(("sgmuniform", "sgm", "trailing", "simple"), ("SGM Uniform", {"timestep_spacing": "trailing"})),
    **dict.fromkeys(("uniform", "normal"), ("Uniform", {"timestep_spacing": "linspace"})),
    **dict.fromkeys(("ddim", "ddimuniform"), ("DDIM", {"timestep_spacing": "leading"})),
}
"""Noise schedules, as the tools write them: how AUTOMATIC1111 does, and what sets it here."""
AUTOMATIC = MappingProxyType(
    {
        **dict.fromkeys(("DPM++ 2M", "DPM++ SDE", "DPM2", "DPM2 a"), "Karras"),
        **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), "Exponential"),
    }
)
"""Schedules that AUTOMATIC1111 chooses for a sampler by itself, where they are others than the sampler's plain one."""


def schedule_of(name: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return how AUTOMATIC1111 writes a noise schedule, and what sets it; None where nothing here does the same.

    Parameters
    ----------
    name
        Such as "Karras", "sgm_uniform" or "normal", in any case.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/sd_schedulers.py`, ComfyUI `comfy/samplers.py`. A test compares
    their formulas with the noise levels that the setting gives.
    """
    return _SCHEDULES.get("".join(_words(name)))


def written(scheduler: str, settings: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return a scheduler in AUTOMATIC1111's words: sampler, schedule, and the settings that neither says.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler"; it stands for itself where that has no such sampler.
    settings
        What is set of it.

    Examples
    --------
    >>> written("DPMSolverMultistep", {"use_karras_sigmas": True, "euler_at_final": True})
    ('DPM++ 2M', 'Karras', {'euler_at_final': True})
    """
    fitting = [one for one in _LISTED if one.scheduler == scheduler and one.settings.items() <= settings.items()]
    sampler = max(fitting, key=lambda one: len(one.settings), default=Sampler(scheduler, scheduler))
    rest = {name: value for name, value in settings.items() if name not in sampler.settings}
    for label, setting in _SCHEDULES.values():
        if setting.items() <= rest.items():
            return sampler.name, label, {name: value for name, value in rest.items() if name not in setting}
    return sampler.name, "", rest


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


_LISTED = (
    *(Sampler(name, scheduler) for name, scheduler in A1111.items()),
    *(Sampler(name, scheduler, settings) for name, (scheduler, settings) in _WITH_SETTINGS.items()),
)


def _table() -> dict[str, Sampler]:
    without = (Sampler(name, None, _NONE, nearest) for name, nearest in _NOT_HERE.items())
    known = {"".join(_words(sampler.name)): sampler for sampler in (*_LISTED, *without)}
    return known | {"".join(_words(spelling)): known["".join(_words(name))] for spelling, name in _SAME.items()}


_KNOWN = _table()

"""The noise levels of a schedule's steps, told from the scheduler's settings without running it or importing torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .scheduler_classes import scheduler_class

_BY_TIMESTEP = ("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "CogVideoXDDIM")
"""Classes whose noise follows from whole timesteps."""
_SOLVERS = ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep", "SASolver")
"""Classes that count one step more, leave the last one out, and space noise levels over the whole training."""
_SIGMAS = ("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LMSDiscrete")
"""Classes that keep noise levels between whole timesteps."""
_NEAREST_TO_INFINITE = 2**-24
"""What the signal's share is taken to be where the training has none left."""


def noise_share(sigma: float) -> float:
    """Return the share of noise in latents of a noise level: σ/√(1+σ²), which is √(1-ᾱ), in [0, 1].

    Parameters
    ----------
    sigma
        As in x + σ n, with x and n of variance 1; at least 0.

    Notes
    -----
    Source: Karras et al. 2022 (arXiv:2206.00364), table 1; Song et al. 2021 (arXiv:2011.13456) for the two
    parametrisations, which this number is the same in.
    """
    return sigma / math.sqrt(1 + sigma**2)


def timesteps_and_sigmas(scheduler: str, config: Mapping[str, Any], steps: int) -> tuple[list[float], list[float]] | None:
    """Return the timestep and the noise level σ of each step, the first step first.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    config
        What it is set to; what is left open is the class's own.
    steps
        Length of the schedule, in [1, 1000] steps.

    Returns
    -------
    tuple of two lists, or None
        Equally long: one entry for each step; PNDM has its second step twice, as it calls the model.
        None for classes that choose their steps in other ways, and settings that this does not know.

    Notes
    -----
    Source: `set_timesteps` of each class of diffusers 0.42.
    """
    import numpy as np

    found = scheduler_class(scheduler)
    if found is None or scheduler not in (*_BY_TIMESTEP, *_SOLVERS, *_SIGMAS):
        return None
    values = {name: config.get(name, default) for name, default in found.settings.items()}
    levels = _training_sigmas(values)
    unknown = values.get("use_flow_sigmas") or values.get("use_lu_lambdas") or values.get("lambda_min_clipped", -math.inf) > -1e9
    if levels is None or unknown or (scheduler == "PNDM" and not values["skip_prk_steps"]):
        return None
    timesteps = _timesteps(scheduler, values, steps)
    between = np.interp(timesteps, np.arange(len(levels)), levels)
    spaced = _spaced(values, levels[::-1] if scheduler in _SOLVERS else between, steps)
    if spaced is None:
        return list(timesteps), [float(sigma) for sigma in between]
    logarithms = np.interp(np.log(spaced), np.log(levels), np.arange(len(levels)))
    return [float(one) for one in logarithms], [float(sigma) for sigma in spaced]


def _training_sigmas(values: Mapping[str, Any]) -> Any:
    """Return the noise level of each of the training's timesteps; None where its betas are given in a way not known here."""
    import numpy as np

    count, start, end = values["num_train_timesteps"], float(values["beta_start"]), float(values["beta_end"])
    if values.get("trained_betas") is not None:
        betas = np.array(values["trained_betas"], dtype=np.float64)
    elif values.get("beta_schedule") == "linear":
        betas = np.linspace(start, end, count)
    elif values.get("beta_schedule") == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, count) ** 2
    else:
        return None
    cumulative = np.cumprod(1 - betas)
    if values.get("rescale_betas_zero_snr"):
        root = np.sqrt(cumulative)
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        cumulative = np.maximum(root**2, _NEAREST_TO_INFINITE)
    return np.sqrt((1 - cumulative) / cumulative)


def _timesteps(scheduler: str, values: Mapping[str, Any], steps: int) -> list[float]:
    import numpy as np

    count, offset = values["num_train_timesteps"], values.get("steps_offset", 0)
    spacing = values.get("timestep_spacing", "linspace")
    more = 1 if scheduler in _SOLVERS else 0
    if spacing == "trailing":
        found = np.arange(count, 0, -count / steps).round() - 1
    elif spacing == "leading":
        found = (np.arange(0, steps + more) * (count // (steps + more))).round()[::-1][: steps or None] + offset
    else:
        found = np.linspace(0, count - 1, steps + more)[::-1][:steps]
        found = found if scheduler in _SIGMAS else found.round()
    if scheduler == "PNDM" and steps > 1:
        found = np.concatenate([found[:2], found[1:]])
    return [float(one) for one in found]


def _spaced(values: Mapping[str, Any], levels: Sequence[float], steps: int) -> Any:
    """Return the noise levels between the highest and the lowest as a setting spaces them; None where none does."""
    import numpy as np

    high, low = float(levels[0]), float(levels[-1])
    if values.get("use_karras_sigmas"):
        ramp = np.linspace(0, 1, steps)
        return (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    if values.get("use_exponential_sigmas"):
        return np.exp(np.linspace(math.log(high), math.log(low), steps))
    if values.get("use_beta_sigmas"):
        from scipy.stats import beta  # type: ignore[import-untyped]

        return low + beta.ppf(1 - np.linspace(0, 1, steps), 0.6, 0.6) * (high - low)
    return None

"""The noise levels of a schedule's steps, told from the scheduler's settings without running it or importing torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .scheduler_classes import scheduler_class

_DISTILLED = ("LCM", "TCD")
"""Classes that choose their timesteps among those of the distillation."""
BY_TIMESTEP = ("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "CogVideoXDDIM", *_DISTILLED)
"""Classes whose noise follows from whole timesteps."""
SOLVERS = ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep", "SASolver")
"""Classes that count one step more, leave the last one out, and space noise levels over the whole training."""
SIGMAS = ("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LMSDiscrete")
"""Classes that keep noise levels between whole timesteps."""
_NEAREST_TO_INFINITE = 2**-24
"""What the signal's share is taken to be where the training has none left."""


def noise_share(sigma: float) -> float:
    """Return the share of noise in latents of a noise level: σ/√(1+σ²), which is √(1-ᾱ), in [0, 1].

    It is the factor of the noise in latents of variance 1: √ᾱ x + √(1-ᾱ) n where variance is preserved,
    (x + σ n)/√(1+σ²) where it explodes. Of flow matching, (1-σ) x + σ n, the share is σ itself: see `flow_schedule`.

    Parameters
    ----------
    sigma
        As in x + σ n, with x and n of variance 1; at least 0.

    Notes
    -----
    Source: Karras et al. 2022 (arXiv:2206.00364), table 1; Song et al. 2021 (arXiv:2011.13456) for the two
    parametrisations, which this number is the same in; Lipman et al. 2023 (arXiv:2210.02747) for flow matching.
    """
    return sigma / math.sqrt(1 + sigma**2)


def timesteps_and_sigmas(
    scheduler: str, config: Mapping[str, Any], steps: int, original: tuple[int | None, float] = (None, 1.0)
) -> tuple[list[float], list[float]] | None:
    """Return the timestep and the noise level σ of each step, the first step first.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    config
        What it is set to; what is left open is the class's own.
    steps
        Length of the schedule, in [1, 1000] steps.
    original
        Of a latent consistency model's schedule, `original_inference_steps` where the call says them, and its strength.

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
    if found is None or scheduler not in (*BY_TIMESTEP, *SOLVERS, *SIGMAS):
        return None
    values = {name: config.get(name, default) for name, default in found.settings.items()}
    levels = _training_sigmas(values)
    if levels is None or values.get("use_flow_sigmas") or values.get("lambda_min_clipped", -math.inf) > -1e9:
        return None
    chosen = _distilled_timesteps(values, steps, *original) if scheduler in _DISTILLED else _timesteps(scheduler, values, steps)
    if not chosen:
        return None
    between = np.interp(chosen, np.arange(len(levels)), levels)
    placed = spaced(values, levels[::-1] if scheduler in SOLVERS else between, steps)
    if placed is None:
        return list(chosen), [float(sigma) for sigma in between]
    logarithms = np.interp(np.log(placed), np.log(levels), np.arange(len(levels)))
    return [float(one) for one in logarithms], [float(sigma) for sigma in placed]


def training_sigmas(scheduler: str, config: Mapping[str, Any]) -> list[float] | None:
    """Return the noise level of each of the training's timesteps, the lowest first; None where they are not known."""
    found = scheduler_class(scheduler)
    if found is None:
        return None
    levels = _training_sigmas({name: config.get(name, default) for name, default in found.settings.items()})
    return None if levels is None else [float(one) for one in levels]


def added_share(strength: float) -> float:
    """Return the share of noise that Kandinsky 2.1's own pipelines add for a strength in [0, 1], whatever their scheduler.

    Source: diffusers `KandinskyImg2ImgPipeline.add_noise` and `__call__`.
    """
    import numpy as np

    cumulative = np.cumprod(1 - np.linspace(0.0001, 0.02, 1000))
    return math.sqrt(1 - float(cumulative[int(1000 * strength) - 2]))


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
    elif values.get("beta_schedule") == "squaredcos_cap_v2":
        bars = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - bars[1:] / bars[:-1], 0.999)
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
    more = 1 if scheduler in SOLVERS else 0
    if spacing == "trailing":
        found = np.arange(count, 0, -count / steps).round() - 1
    elif spacing == "leading":
        found = (np.arange(0, steps + more) * (count // (steps + more))).round()[::-1][: steps or None] + offset
    else:
        found = np.linspace(0, count - 1, steps + more)[::-1][:steps]
        found = found if scheduler in SIGMAS else found.round()
    if scheduler == "PNDM" and not values["skip_prk_steps"]:
        found = _runge_kutta(found, count // steps // 2)
    elif scheduler == "PNDM" and steps > 1:
        found = np.concatenate([found[:2], found[1:]])
    return [float(one) for one in found]


def _runge_kutta(found: Any, half: int) -> Any:
    """Return PNDM's timesteps where it begins with steps of Runge-Kutta, of four calls each; none for fewer than four."""
    import numpy as np

    if len(found) < 4:
        return found[:0]
    pairs = found[:4][::-1].repeat(2) + np.tile([0, half], 4)
    return np.concatenate([pairs[:-1].repeat(2)[1:-1][::-1], found[3:]])


def _distilled_timesteps(values: Mapping[str, Any], steps: int, original: int | None, strength: float) -> list[float]:
    """Return the timesteps of a latent consistency model; none where the distillation has not so many."""
    import numpy as np

    known = original or values["original_inference_steps"] or 50
    apart = values["num_train_timesteps"] // known
    theirs = (np.arange(1, int(known * strength) + 1) * apart - 1)[::-1]
    if len(theirs) < steps:
        return []
    places = np.floor(np.linspace(0, len(theirs), num=steps, endpoint=False)).astype(int)
    return [float(one) for one in theirs[places]]


def spaced(values: Mapping[str, Any], levels: Sequence[float], steps: int) -> Any:
    """Return the noise levels between the highest and the lowest as a setting spaces them; None where none does."""
    import numpy as np

    high, low = float(levels[0]), float(levels[-1])
    if values.get("use_karras_sigmas"):
        ramp = np.linspace(0, 1, steps)
        return (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    if values.get("use_exponential_sigmas") or values.get("use_lu_lambdas"):
        return np.exp(np.linspace(math.log(high), math.log(low), steps))
    if values.get("use_beta_sigmas"):
        from scipy.stats import beta  # type: ignore[import-untyped]

        return low + beta.ppf(1 - np.linspace(0, 1, steps), 0.6, 0.6) * (high - low)
    return None

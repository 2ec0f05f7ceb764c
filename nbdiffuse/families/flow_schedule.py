"""The noise levels of flow matching's steps, told from the scheduler's settings and the size of the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .noise_schedule import spaced
from .scheduler_classes import scheduler_class

_CLASSES = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")
_TOKEN = 16
"""Pixels of a side of what the transformer sees as one token: the VAE's 8, and patches of 2."""


def flow_sigmas(
    scheduler: str,
    config: Mapping[str, Any],
    steps: int,
    size: tuple[int, int],
    *,
    shift: str = "linear",
    evenly: bool = True,
    sigmas: Sequence[float] | None = None,
) -> list[float] | None:
    """Return the noise level σ of each step of flow matching, the first step first; it is the share of noise, too.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    config
        What it is set to; what is left open is the class's own.
    steps
        Length of the schedule, in [1, 1000] steps.
    size
        Width and height of the result in pixels, which dynamic shifting goes by.
    shift
        How the pipeline shifts by the size: "linear" as Flux, "empirical" as Flux 2.
    evenly
        Whether the pipeline gives the levels 1 to 1/steps; else the scheduler spaces them.
    sigmas
        Levels that the call is given instead, before they are shifted.

    Returns
    -------
    list of float, or None
        In [0, 1]; None for classes and settings that this does not know.

    Notes
    -----
    Latents are (1-σ) x + σ n. Source: Lipman et al. 2023 (arXiv:2210.02747); `FlowMatchEulerDiscreteScheduler.set_timesteps`,
    `calculate_shift` and `compute_empirical_mu` of diffusers 0.42.
    """
    import numpy as np

    found = scheduler_class(scheduler)
    if found is None or scheduler not in _CLASSES:
        return None
    values = {name: config.get(name, default) for name, default in found.settings.items()}
    if values.get("invert_sigmas"):
        return None
    dynamic, factor = bool(values.get("use_dynamic_shifting")), float(values["shift"])
    own = evenly and scheduler != "FlowMatchHeunDiscrete"
    lowest = 1 / values["num_train_timesteps"] if dynamic else _shifted(1 / values["num_train_timesteps"], factor)
    levels = np.linspace(1, 1 / steps if own else lowest, steps) if sigmas is None else np.array(sigmas, dtype=np.float64)
    if dynamic:
        levels = _by_size(levels, values, _mu(values, size, steps, shift))
    else:
        levels = _shifted(levels, factor)
    if values.get("shift_terminal"):
        rest = 1 - levels
        levels = 1 - rest / (rest[-1] / (1 - values["shift_terminal"]))
    placed = spaced(values, levels, len(levels))
    return [float(one) for one in (levels if placed is None else placed)]


def _shifted(levels: Any, factor: float) -> Any:
    return factor * levels / (1 + (factor - 1) * levels)


def _mu(values: Mapping[str, Any], size: tuple[int, int], steps: int, shift: str) -> float:
    tokens = (size[0] // _TOKEN) * (size[1] // _TOKEN)
    if shift == "empirical":
        many, few = 0.00016927 * tokens + 0.45666666, 8.73809524e-05 * tokens + 1.89833333
        slope = (many - few) / 190
        return many if tokens > 4300 else slope * steps + many - 200 * slope
    slope = (values["max_shift"] - values["base_shift"]) / (values["max_image_seq_len"] - values["base_image_seq_len"])
    return float(tokens * slope + values["base_shift"] - slope * values["base_image_seq_len"])


def _by_size(levels: Any, values: Mapping[str, Any], mu: float) -> Any:
    exponential = values["time_shift_type"] == "exponential"
    factor = math.exp(mu) if exponential else mu
    return factor / (factor + (1 / levels - 1))

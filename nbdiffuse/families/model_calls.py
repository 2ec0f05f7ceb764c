"""How often a run calls its denoiser, told from the scheduler's settings without running it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .scheduler_classes import scheduler_class

_PRK_STEPS = 4
"""Steps that PNDM takes by Runge-Kutta, where it does: the first four."""
_PRK_CALLS = 12
"""Model calls of these, which stand for the first three."""
_DISTILLED = ("LCM", "TCD")
"""Classes that choose their steps among those of the distillation."""


def steps_allowed(scheduler: str, config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the fewest and the most steps that a scheduler's schedule can have.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    config
        What the checkpoint says of its scheduler.
    """
    if scheduler == "PNDM" and not _setting(scheduler, config, "skip_prk_steps"):
        return _PRK_STEPS, 1000
    if scheduler in _DISTILLED:
        return 1, _setting(scheduler, config, "original_inference_steps") or 50
    return 1, 1000


def model_calls(scheduler: str, config: Mapping[str, Any], steps: int, skipped: int = 0) -> int:
    """Return how many model calls a run makes.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    config
        What the checkpoint says of its scheduler.
    steps
        Length of the schedule, in `steps_allowed`.
    skipped
        Steps left out at its beginning, in [0, steps - 1]; image-to-image begins part of the way down.

    Examples
    --------
    >>> model_calls("HeunDiscrete", {}, 10)
    19

    Notes
    -----
    Source: `set_timesteps` of each class. Heun and KDPM2 call twice a step but in the
    last one, PNDM calls its second step twice or begins with twelve calls of
    Runge-Kutta, and the spacing "trailing" counts down in floating point.
    """
    found = scheduler_class(scheduler)
    order = found.order if found is not None and found.order else 1
    return max(0, _timesteps(scheduler, config, steps, order) - skipped * order)


def _timesteps(scheduler: str, config: Mapping[str, Any], steps: int, order: int) -> int:
    if _setting(scheduler, config, "timestep_spacing") == "trailing" and scheduler not in _DISTILLED:
        trained = _setting(scheduler, config, "num_train_timesteps") or 1000
        steps = math.ceil(trained / (trained / steps))
    if scheduler == "PNDM":
        if _setting(scheduler, config, "skip_prk_steps"):
            return steps + 1 if steps > 1 else 1
        return steps - 3 + _PRK_CALLS
    return order * steps - (order - 1)


def _setting(scheduler: str, config: Mapping[str, Any], name: str) -> Any:
    """Return a setting as `from_config` gives it to the class: the checkpoint's where it says one, else the class's own."""
    found = scheduler_class(scheduler)
    if found is None or name not in found.settings:
        return None
    return config.get(name, found.settings[name])

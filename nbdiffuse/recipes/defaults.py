"""What a recipe leaves open: the checkpoint's value where it says one, else the preset's; and whether a scheduler can run."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError
from ..families import schedulers
from ..families.arguments import ARGUMENTS
from ..families.description import Description, describe
from ..families.model_calls import steps_allowed
from ..families.parameters import number_text
from ..families.scheduler_classes import scheduler_class
from ..families.step_rules import distilled_steps
from .preset import Preset
from .recipe import Recipe
from .weights_source import source


def default_values(recipe: Recipe, preset: Preset) -> dict[str, Any]:
    """Return the values for what a recipe leaves open: the checkpoint's where it says one, else the preset's.

    The scheduler is the checkpoint's own. Where the checkpoint is not on this disk yet it
    stays open, unless the preset knows it; it is filled in when the checkpoint is there.
    """
    values = preset.values_for(recipe)
    origin = preset.origin(source())
    word = recipe.checkpoint or (recipe.model if recipe.model != preset.name or origin is None else origin.checkpoint)
    described = describe(word)
    if described is not None:
        scheduler = described.scheduler or values.get("scheduler")
        return {**values, **_of_scheduler(values, described, str(scheduler)), "scheduler": scheduler}
    return values if word in (preset.embedded_checkpoint, preset.hub_checkpoint) else {**values, "scheduler": None}


def _of_scheduler(values: dict[str, Any], described: Description, scheduler: str) -> dict[str, Any]:
    """Return the scheduler's own settings for arguments that the call leaves to it, such as `original_inference_steps`."""
    found = scheduler_class(scheduler)
    settings = {**(found.settings if found is not None else {}), **described.scheduler_config}
    return {name: settings[name] for name, value in values.items() if value is None and name in ARGUMENTS and name in settings}


def check_scheduler(complete: Recipe, preset: Preset) -> None:
    """Raise `ParameterError` where a complete recipe's scheduler cannot run, or not with so many steps."""
    if complete.scheduler is None:
        return
    found = describe(str(complete.checkpoint))
    described = found or Description()
    own = complete.scheduler == described.scheduler
    prediction = None if own else described.prediction_type
    schedulers.check(
        complete.scheduler,
        kind=preset.scheduler_kind,
        needs=preset.scheduler_needs,
        prediction=prediction,
        pipeline=preset.name,
        own=own,
    )
    steps = complete.num_inference_steps or 1
    if preset.step_rule == "distilled":
        _check_distilled(complete, steps)
        return
    low, high = steps_allowed(complete.scheduler, found.scheduler_config) if found else (1, 1000)
    if not low <= steps <= high:
        limit = f"at least {low}" if steps < low else f"at most {high}"
        way_out = "Or name another scheduler, such as DDIM."
        raise ParameterError(f"`num_inference_steps` must be {limit} for {complete.scheduler}, got {steps}. {way_out}")


def _check_distilled(complete: Recipe, steps: int) -> None:
    """Raise `ParameterError` where a strength leaves fewer steps of the distillation than are to be chosen from them."""
    own = complete.get("original_inference_steps")
    if own is None:  # the checkpoint is not on this disk yet
        return
    strength = 1.0 if complete.strength is None else complete.strength
    left = distilled_steps(own, strength)
    if steps <= left:
        return
    lowest = next((hundredth for hundredth in range(1, 101) if distilled_steps(own, hundredth / 100) >= steps), None)
    fewer = [f"lower `num_inference_steps` to at most {left or own}"]
    higher = [f"raise `strength` to at least {number_text(lowest / 100)}"] if lowest and complete.strength is not None else []
    way_out = ", or ".join([*higher, *fewer])
    of = f"strength {number_text(strength)} leaves of the distillation's {own}"
    raise ParameterError(
        f"`num_inference_steps` must be at most the {left} that {of}, got {steps}. {way_out[:1].upper()}{way_out[1:]}."
    )

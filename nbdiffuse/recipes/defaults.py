"""What a recipe leaves open: the checkpoint's value where it says one, else the preset's; and whether a scheduler can run."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError
from ..families import schedulers
from ..families.description import Description, describe
from ..families.model_calls import steps_allowed
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
        return {**values, "scheduler": described.scheduler or values.get("scheduler")}
    return values if word in (preset.embedded_checkpoint, preset.hub_checkpoint) else {**values, "scheduler": None}


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
    low, high = steps_allowed(complete.scheduler, found.scheduler_config) if found else (1, 1000)
    if not low <= steps <= high:
        limit = f"at least {low}" if steps < low else f"at most {high}"
        way_out = "Or name another scheduler, such as DDIM."
        raise ParameterError(f"`num_inference_steps` must be {limit} for {complete.scheduler}, got {steps}. {way_out}")

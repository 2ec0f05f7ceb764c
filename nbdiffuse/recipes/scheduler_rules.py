"""A recipe's scheduler: what other tools' names for one stand for, what is set of it, and whether it can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError
from ..families import schedulers
from ..families.description import Description, describe
from ..families.model_calls import steps_allowed
from ..families.parameters import number_text
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_names import sampler_of
from ..families.scheduler_settings import check_settings
from ..families.step_rules import distilled_steps
from .defaults import scheduler_of, weights_of
from .fields import names_of
from .preset import Preset
from .recipe import Recipe

SETTINGS = names_of("scheduler_config")
"""Fields that set something of the scheduler."""


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return what a recipe sets of its scheduler, as keyword arguments of `from_config`."""
    return dict(recipe.scheduler_config.to_dict()) if recipe.scheduler_config is not None else {}


def config_of(recipe: Recipe) -> Mapping[str, Any] | None:
    """Return what a complete recipe's scheduler is configured to; None where the checkpoint is not on this disk yet."""
    described = describe(str(recipe.checkpoint))
    return None if described is None else {**described.scheduler_config, **settings_of(recipe)}


def settings_in_force(recipe: Recipe, preset: Preset) -> dict[str, Any]:
    """Return what the scheduler that a recipe runs on is set to, by setting: the checkpoint's word, else the class's own."""
    found = scheduler_class(scheduler_of(recipe, preset) or "")
    described = describe(weights_of(recipe, preset))
    if found is None or described is None:
        return {}
    settings = {name: described.scheduler_config.get(name, found.settings[name]) for name in SETTINGS if name in found.settings}
    # Of another class's config a value may be none of this class's.
    return {
        name: found.settings[name] if name in found.choices and value not in found.choices[name] else value
        for name, value in settings.items()
    }


def with_class(recipe: Recipe) -> Recipe:
    """Put a class and its settings in the place of another tool's name for a sampler, such as "DPM++ 2M Karras".

    What the recipe sets of the scheduler besides stays as it is.
    """
    if recipe.scheduler is None or scheduler_class(recipe.scheduler) is not None:
        return recipe
    sampler = sampler_of(recipe.scheduler)
    if sampler is None or sampler.scheduler is None:
        return recipe
    settings = {name: value for name, value in sampler.settings.items() if recipe.get(name) is None}
    return recipe.replace(scheduler=sampler.scheduler, **settings)


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
    check_settings(complete.scheduler, settings_of(complete), described.scheduler_config)
    steps = complete.num_inference_steps or 1
    if preset.step_rule == "distilled":
        _check_distilled(complete, steps)
        return
    config = config_of(complete)
    low, high = (1, 1000) if config is None else steps_allowed(complete.scheduler, config)
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

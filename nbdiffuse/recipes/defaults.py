"""What a recipe leaves open: the checkpoint's value where it says one, else the preset's."""

from __future__ import annotations

from typing import Any

from ..families.arguments import ARGUMENTS
from ..families.description import Description, describe
from ..families.distilled import Distilled, distilled, distilled_lora
from ..families.scheduler_classes import scheduler_class
from .preset import Preset
from .recipe import Recipe
from .weights_source import source


def default_values(recipe: Recipe, preset: Preset) -> dict[str, Any]:
    """Return the values for what a recipe leaves open: the checkpoint's where it says one, else the preset's.

    The scheduler is the checkpoint's own, and so are steps and guidance of one that was
    distilled to few steps. Where the checkpoint is not on this disk yet the scheduler
    stays open, unless the preset knows it; it is filled in when the checkpoint is there.
    """
    values = preset.values_for(recipe)
    word = weights_of(recipe, preset)
    few = few_steps_of(recipe, word)
    if few is not None:
        values |= {name: value for name, value in few.values.items() if name in values}
    # Settings of a scheduler that a person named are that person's.
    sampling = few.sampling if few is not None and recipe.scheduler is None else {}
    described = describe(word)
    if described is not None:
        scheduler = sampling.get("scheduler") or described.scheduler or values.get("scheduler")
        return {**values, **_of_scheduler(values, described, str(scheduler)), "scheduler": scheduler, **sampling}
    known = word in (preset.embedded_checkpoint, preset.hub_checkpoint)
    return {**values, "scheduler": values.get("scheduler") if known else None, **sampling}


def few_steps_of(recipe: Recipe, word: str) -> Distilled | None:
    """Return how a recipe is run with a LoRA or on weights, `word`, that were distilled to few steps; None where neither was."""
    of_loras = (distilled_lora(one.file) for one in recipe.loras)
    return next((few for few in of_loras if few is not None), None) or distilled(word)


def _of_scheduler(values: dict[str, Any], described: Description, scheduler: str) -> dict[str, Any]:
    """Return the scheduler's own settings for arguments that the call leaves to it, such as `original_inference_steps`."""
    found = scheduler_class(scheduler)
    settings = {**(found.settings if found is not None else {}), **described.scheduler_config}
    return {name: settings[name] for name, value in values.items() if value is None and name in ARGUMENTS and name in settings}


def scheduler_of(recipe: Recipe, preset: Preset) -> str | None:
    """Return the scheduler class that a recipe runs on; None where only a checkpoint that is not on this disk yet says it."""
    word = weights_of(recipe, preset)
    few, described = few_steps_of(recipe, word), None if recipe.scheduler else describe(word)
    return recipe.scheduler or (few.scheduler if few else None) or (described.scheduler if described is not None else None)


def weights_of(recipe: Recipe, preset: Preset) -> str:
    """Return the word for a recipe's weights, which may be open."""
    origin = preset.origin(source())
    return recipe.checkpoint or (recipe.model if recipe.model != preset.name or origin is None else origin.checkpoint)

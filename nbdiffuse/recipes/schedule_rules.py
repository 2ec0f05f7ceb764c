"""Fields that scheduler, text encoder or mode must take: schedules of one's own, `eta`, `clip_skip`, variations."""

from __future__ import annotations

from ..errors import ParameterError
from ..families.arguments import OPEN
from ..families.description import content_of, directory_of
from ..families.diffusers_classes import call_defaults
from ..families.number_lists import LISTS, called_value
from ..families.parameters import number_text
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_settings import SPACINGS, has_setting
from ..families.schedulers import FLOW_SCHEDULERS, SCHEDULERS
from ..prompts import dialects
from .preset import Preset
from .recipe import Recipe
from .scheduler_rules import config_of


def with_listed_steps(recipe: Recipe) -> Recipe:
    """Fill in the number of steps that a schedule of one's own has.

    Raises
    ------
    ParameterError
        Another number is given, or two schedules are.
    """
    given = [name for name in LISTS if recipe.get(name) is not None]
    if len(given) > 1:
        raise ParameterError("`timesteps` and `sigmas` must not both be given. Leave one out.")
    if not given:
        return recipe
    numbers = called_value(given[0], recipe.get(given[0]))
    # A last noise level of zero is where the last step ends, and no step.
    steps = len(numbers) - (numbers[-1] == 0 if given[0] == "sigmas" else 0)
    if recipe.num_inference_steps not in (None, steps):
        line = f"`num_inference_steps` must be {steps} where `{given[0]}` has so many, got {recipe.num_inference_steps}."
        raise ParameterError(f"{line} Leave it out.")
    if not steps:
        raise ParameterError(f"`{given[0]}` must have at least one step, got {recipe.get(given[0])}.")
    return recipe.replace(num_inference_steps=steps)


def refuse_uncalled(recipe: Recipe, preset: Preset) -> None:
    """Raise for an argument that the pipeline's call has in another mode, and not in this one."""
    if preset.mode(recipe) not in preset.pipelines:
        return
    pipeline = preset.pipeline(recipe)
    for name in recipe.arguments:
        if name not in OPEN or name in call_defaults(pipeline):
            continue
        others = [mode for mode, one in preset.pipelines.items() if name in call_defaults(one)]
        if others:
            takes = f"It is taken by {', '.join(others)}."
            raise ParameterError(f"`{name}` is not taken by {pipeline}, which makes {preset.mode(recipe)}. {takes}")


def check_schedule(complete: Recipe) -> None:
    """Raise `ParameterError` where a complete recipe's scheduler does not take an argument, or the checkpoint does not."""
    _check_variation(complete)
    _check_window(complete)
    _check_eta(complete)
    _check_lists(complete)
    _check_clip_skip(complete)


def _check_variation(complete: Recipe) -> None:
    if complete.variation is None:
        return
    if complete.image is not None and (complete.mask is not None or complete.strength is None):
        left = "with a mask" if complete.mask is not None else "where there is no strength"
        line = f"`variation_seed` must be left out {left}: it turns the noise that is added to all of a picture."
        raise ParameterError(f"{line} Leave it out, or sweep `seed`.")
    if complete.variation.seed is None or complete.variation.strength is None:
        missing, there = ("seed", "strength") if complete.variation.seed is None else ("strength", "seed")
        raise ParameterError(f"`variation_{missing}` must be given where `variation_{there}` is, got none.")


def _check_window(complete: Recipe) -> None:
    start, end = complete.get("denoising_start"), complete.get("denoising_end")
    if start is not None and complete.strength is not None:
        line = "`strength` must be left out where `denoising_start` is given, which says where the run begins."
        raise ParameterError(f"{line} Leave one of them out.")
    if start is not None and end is not None and start >= end:
        values = f"{number_text(start)} and {number_text(end)}"
        raise ParameterError(f"`denoising_start` must be below `denoising_end`, got {values}.")


def _check_eta(complete: Recipe) -> None:
    found = scheduler_class(complete.scheduler or "")
    if complete.get("eta") is None or found is None or found.takes_eta:
        return
    others = [name for name in SCHEDULERS if (one := scheduler_class(name)) is not None and one.takes_eta]
    line = f"`eta` must be left out with {complete.scheduler}, which does not follow it."
    raise ParameterError(f"{line} Those that do: {', '.join(others)}.")


def takes_list(scheduler: str, name: str) -> bool:
    """Tell whether a scheduler class runs a schedule of one's own; `name` is "timesteps" or "sigmas"."""
    found = scheduler_class(scheduler)
    if found is None or name not in found.lists or found.order != 1:
        return False
    return found.kind == "flow" or name == "timesteps" or scheduler == "EulerDiscrete"


def _check_lists(complete: Recipe) -> None:
    scheduler = complete.scheduler or ""
    for name in LISTS:
        if complete.get(name) is None or scheduler_class(scheduler) is None:
            continue
        if not takes_list(scheduler, name):
            others = ", ".join(one for one in (*SCHEDULERS, *FLOW_SCHEDULERS) if takes_list(one, name))
            raise ParameterError(f"`{name}` must be left out with {scheduler}, which does not take it. Those that do: {others}.")
        config = config_of(complete) or {}
        spaced = next((one for one in SPACINGS if config.get(one) and has_setting(scheduler, one)), None)
        if spaced:
            raise ParameterError(f"`{name}` must be left out where `{spaced}` is true. Set `{spaced}` to false.")
        if name == "sigmas" and scheduler == "EulerDiscrete" and called_value(name, complete.get(name))[-1] != 0:
            raise ParameterError(f"`sigmas` must end with 0 for EulerDiscrete, got {complete.get(name)}.")
        if name == "sigmas" and scheduler != "EulerDiscrete" and called_value(name, complete.get(name))[-1] == 0:
            raise ParameterError(f"`sigmas` must be above 0 for {scheduler}, which ends at 0 by itself; leave the last one out.")


def _check_clip_skip(complete: Recipe) -> None:
    skipped = complete.get("clip_skip")
    if skipped is None:
        return
    if complete.weighting not in (None, dialects.NONE):
        line = f"`clip_skip` must be left out where `weighting` is {complete.weighting}, which reads the last layer."
        raise ParameterError(f"{line} Write `weighting` none, or leave it out.")
    directory = directory_of(str(complete.checkpoint))
    layers = content_of(directory / "text_encoder" / "config.json").get("num_hidden_layers") if directory else None
    # Where there is a second text encoder, the layer that is read is the last but one anyway.
    two = directory is not None and "text_encoder_2" in content_of(directory / "model_index.json")
    most = layers - two if isinstance(layers, int) else None
    if isinstance(most, int) and skipped > most:
        raise ParameterError(f"`clip_skip` must be at most {most} for a text encoder of {layers} layers, got {skipped}.")

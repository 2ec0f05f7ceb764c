"""Where a run begins in the noise: the share that its strength stands for, and the strength that a share stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ParameterError
from ..families.first_step import FirstStep, Schedule
from ..families.flow_schedule import flow_sigmas
from ..families.noise_schedule import added_share, timesteps_and_sigmas, training_sigmas
from ..families.number_lists import LISTS, called_value
from ..families.parameters import number_text
from ..families.step_rules import BY_STRENGTH, distilled_steps, run_steps, shortest_strength, strengths_by_steps
from .presets import preset_of
from .recipe import Recipe
from .scheduler_rules import config_of

_NEAR = 0.01
"""How far the share that a run begins with is from the one asked for, at most, without a word."""


@dataclass(frozen=True)
class NoiseStart:
    """How a run begins with a share of noise, whatever the scheduler, its settings, the number of steps and the family.

    The share is √(1-ᾱ) where variance is preserved, σ/√(1+σ²) where it explodes, which is the same number, and σ for
    flow matching: the factor of the noise in latents of variance 1, see `noise_schedule.noise_share`. The first step is
    shortened to it; where a scheduler cannot, the run begins at the nearest step, and says so.

    Parameters
    ----------
    strength
        That the pipeline's call gets.
    skipped
        Steps at the beginning of the schedule that are not run.
    share
        Of noise that the run really begins with.
    first
        What is changed of the schedule; None where a step begins with this share anyway.
    """

    strength: float
    skipped: int
    share: float
    first: FirstStep | None = None


def noise_start(recipe: Recipe) -> NoiseStart | None:
    """Return how a complete recipe with `noise` begins; None where its schedule is not known, or not yet."""
    if recipe.noise is None or recipe.num_inference_steps is None:
        return None
    preset, steps, share = preset_of(recipe.model), recipe.num_inference_steps, recipe.noise
    if preset.adds_noise_itself:
        return _added(steps, share)
    if preset.step_rule == "distilled":
        return _distilled(recipe, steps, share)
    schedule = _schedule(recipe, whole=preset.step_rule == "floor" and recipe.mask is not None)
    if schedule is None or preset.step_rule not in BY_STRENGTH:
        return None
    found = schedule.start(share)
    strength = strengths_by_steps(steps, preset.step_rule)[steps - found.step - 1]
    return NoiseStart(strength, found.step, found.share, found.first)


def called_strength(recipe: Recipe) -> float | None:
    """Return the strength that a complete recipe's call gets: its own, or the one that its `noise` stands for."""
    start = noise_start(recipe)
    return recipe.strength if start is None else start.strength


def _added(steps: int, share: float) -> NoiseStart:
    """Take the strength at which a pipeline that adds its noise itself adds this share, in thousandths."""
    thousandth = min(range(3, 1001), key=lambda one: abs(added_share(one / 1000) - share))
    strength = shortest_strength(1000, thousandth)
    return NoiseStart(strength, steps - run_steps(steps, strength), added_share(strength))


def _distilled(recipe: Recipe, steps: int, share: float) -> NoiseStart | None:
    """Take the lowest strength from which the first of the distillation's steps can be shortened to this share."""
    known = recipe.get("original_inference_steps") or 50
    for count in range(steps, known + 1):
        strength = shortest_strength(known, count)
        schedule = _schedule(recipe, strength)
        if schedule is None:
            return None
        if schedule.shares[0] >= share or count == known:
            found = schedule.start(share)
            return NoiseStart(strength, 0, found.share, found.first)
    return None


def _schedule(recipe: Recipe, strength: float = 1.0, whole: bool = False) -> Schedule | None:
    """Return the steps of a complete recipe's schedule; None where they are not known.

    Parameters
    ----------
    recipe
        Complete.
    strength
        Of a latent consistency model, whose schedule goes by it.
    whole
        Whether a run of all steps begins with noise alone.
    """
    preset, config, steps = preset_of(recipe.model), config_of(recipe), recipe.num_inference_steps or 1
    scheduler = recipe.scheduler or ""
    if config is None:
        return None
    listed = {name: called_value(name, recipe.get(name)) for name in LISTS if recipe.get(name) is not None}
    if preset.scheduler_kind == "flow":
        size = recipe.width or 0, recipe.height or 0
        levels = flow_sigmas(scheduler, config, steps, size, sigmas=listed.get("sigmas"), **preset.flow_spacing)
        trained = config.get("num_train_timesteps", 1000)
        if levels is None or "timesteps" in listed:
            return None
        return Schedule(scheduler, [one * trained for one in levels], levels, trained, steps, whole)
    single = preset.step_rule == "distilled"
    training = training_sigmas(scheduler, config)
    found = timesteps_and_sigmas(scheduler, config, steps, (recipe.get("original_inference_steps") if single else None, strength))
    if found is None or training is None:
        return None
    if listed:
        found = _listed(listed, training)
    return Schedule(scheduler, *found, training, 1 if single else steps, whole)


def _listed(listed: dict[str, list[float]], training: list[float]) -> tuple[list[float], list[float]]:
    """Return timesteps and noise levels of a schedule of one's own."""
    import numpy as np

    if "timesteps" in listed:
        levels = np.interp(listed["timesteps"], np.arange(len(training)), training)
        return list(map(float, listed["timesteps"])), list(map(float, levels))
    levels = np.array([one for one in listed["sigmas"] if one > 0])
    timesteps = np.interp(np.log(levels), np.log(training), np.arange(len(training)))
    return list(map(float, timesteps)), list(map(float, levels))


def start_share(recipe: Recipe, skipped: int) -> float | None:
    """Return the share of noise in the latents that a complete recipe's run begins with, in [0, 1].

    One strength begins at very different shares: 0.3 of 20 steps at 0.64 with PNDM, 0.57 with DDIM, 0.26 with
    Karras noise levels. Two runs that begin at one share move equally far from the picture.

    Parameters
    ----------
    recipe
        Complete.
    skipped
        Steps at the beginning of its schedule that it does not run.

    Returns
    -------
    float or None
        See `noise_schedule.noise_share`; 1 without a picture. None where the mode has no strength, and where the
        schedule is not told from the scheduler's settings.
    """
    if recipe.noise is not None:
        start = noise_start(recipe)
        return None if start is None else start.share
    if recipe.image is None or (recipe.mask is not None and recipe.strength == 1):
        return 1.0
    preset = preset_of(recipe.model)
    if recipe.strength is None and recipe.get("denoising_start") is None:
        return None
    if preset.adds_noise_itself:
        return added_share(recipe.strength or 0.0)
    distilled = preset.step_rule == "distilled"
    schedule = _schedule(recipe, recipe.strength if distilled and recipe.strength is not None else 1.0)
    shares = schedule.shares if schedule is not None else []
    place = 0 if distilled else skipped
    return shares[place] if place < len(shares) else None


def check_noise(complete: Recipe) -> None:
    """Raise `ParameterError` where a complete recipe's `noise` does not go with the rest of it, or no run begins there."""
    if complete.noise is None:
        return
    for name in ("strength", "denoising_start"):
        if complete.get(name) is not None:
            line = f"`{name}` must be left out where `noise` is given, which says where the run begins."
            raise ParameterError(f"{line} Leave one of them out.")
    preset, steps, share = preset_of(complete.model), complete.num_inference_steps or 1, number_text(complete.noise)
    known = complete.get("original_inference_steps")
    if preset.step_rule == "distilled" and known is not None and steps > distilled_steps(known, 1.0):
        return  # said with the scheduler
    start = noise_start(complete)
    if start is None and config_of(complete) is not None:
        line = f"`noise` must be left out with {complete.scheduler}, the noise of whose steps is not known here."
        raise ParameterError(f"{line} Give `strength`, or another scheduler.")
    if start is not None and start.skipped >= steps:
        enough = math.ceil(1 / start.strength)
        line = f"`noise` must leave at least one step, got {share} of {steps} steps."
        raise ParameterError(f"{line} Raise it, or raise `num_inference_steps` to at least {enough}.")


def nearest_notice(recipe: Recipe) -> list[str]:
    """Say that a run cannot begin with the share of noise that a complete recipe asks for, and with which it does."""
    start = noise_start(recipe)
    if recipe.noise is None or start is None or abs(start.share - recipe.noise) <= _NEAR:
        return []
    asked, told = number_text(recipe.noise), share_text(start.share)
    return [f"`noise`: {recipe.scheduler} cannot begin at {asked} here, so the run begins at the nearest step, {told}."]


def share_text(share: float) -> str:
    """Write a share of noise for people, in two digits."""
    return number_text(round(share, 2))

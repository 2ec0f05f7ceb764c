"""Steps: how many of them a strength runs, and which strengths draw the same picture."""

from __future__ import annotations

from functools import lru_cache

from ..families import model_calls as counts
from ..families.noise_schedule import noise_share, timesteps_and_sigmas
from ..families.number_lists import LISTS
from ..families.parameters import number_text
from ..families.scheduler_classes import scheduler_class
from ..families.step_rules import BY_STRENGTH, RULES
from .presets import preset_of
from .recipe import Recipe
from .scheduler_rules import config_of


def run_steps(num_inference_steps: int, strength: float, rule: str = "floor") -> int:
    """Return how many steps of a schedule img2img runs; `rule` is a key of `step_rules.RULES`."""
    return RULES[rule](num_inference_steps, strength)


@lru_cache(maxsize=64)
def strengths_by_steps(num_inference_steps: int, rule: str = "floor") -> tuple[float, ...]:
    """Return a strength for each number of steps that img2img can run: from 1 to all of them.

    Parameters
    ----------
    num_inference_steps
        Length of the schedule, in [1, 1000] steps.
    rule
        How the family counts them, a key of `step_rules.RULES`.

    Returns
    -------
    tuple of float
        Rising, in (0, 1]; the k-th, counted from 1, runs k steps, and is the shortest
        decimal that does.

    Examples
    --------
    >>> strengths_by_steps(5)
    (0.2, 0.4, 0.6, 0.8, 1.0)
    """
    return tuple(_shortest(num_inference_steps, count, rule) for count in range(1, num_inference_steps + 1))


def _shortest(steps: int, count: int, rule: str) -> float:
    units = (10**digits for digits in range(1, 7))
    # The product is taken in floating point, where 50 * 0.58 is a little less than 29.
    tried = (
        numerator / unit
        for unit in units
        for numerator in range(max(1, count * unit // steps - 1), min(unit, (count + 1) * unit // steps + 1) + 1)
    )
    return next(strength for strength in tried if run_steps(steps, strength, rule) == count)


def equivalent_strengths(num_inference_steps: int, strength: float, rule: str = "floor") -> tuple[float, float]:
    """Return the lowest and the highest strength, in hundredths, that draw the same image as a strength in [0, 1]."""
    count = run_steps(num_inference_steps, strength, rule)
    same = [hundredth / 100 for hundredth in range(101) if run_steps(num_inference_steps, hundredth / 100, rule) == count]
    return (same[0], same[-1]) if same else (strength, strength)


def real_steps(recipe: Recipe) -> int:
    """Return how many of its `num_inference_steps` a complete recipe really runs.

    Image-to-image starts part of the way down the schedule, by its family's rule in `step_rules`.
    """
    steps = recipe.num_inference_steps or 0
    window = _window(recipe)
    if window is not None:
        return window[1]
    return steps if recipe.strength is None else run_steps(steps, recipe.strength, preset_of(recipe.model).step_rule)


def skipped_steps(recipe: Recipe) -> int:
    """Return how many steps at the beginning of its schedule a complete recipe leaves out."""
    window = _window(recipe)
    return (recipe.num_inference_steps or 0) - real_steps(recipe) if window is None else window[0]


def unrun_steps(recipe: Recipe) -> int:
    """Return how many steps at the end of its schedule a complete recipe leaves out."""
    return (recipe.num_inference_steps or 0) - skipped_steps(recipe) - real_steps(recipe)


def start_noise(recipe: Recipe) -> float | None:
    """Return the share of noise in the latents that a complete recipe's run begins with, in [0, 1].

    One strength begins at very different shares: 0.3 of 20 steps at 0.64 with PNDM, 0.57 with DDIM, 0.26 with
    Karras noise levels. Two runs that begin at one share move equally far from the picture.

    Returns
    -------
    float or None
        `noise_schedule.noise_share` of the first step's noise level; 1 without a picture. None where the schedule
        is not told from its settings: flow matching, latent consistency models, schedules of one's own.
    """
    preset = preset_of(recipe.model)
    if recipe.image is None or (recipe.mask is not None and recipe.strength == 1):
        return 1.0
    begins = recipe.strength is not None or recipe.get("denoising_start") is not None
    listed = any(recipe.get(name) is not None for name in LISTS)
    if not begins or listed or not preset.strength_is_start or preset.step_rule not in BY_STRENGTH:
        return None
    config, skipped = config_of(recipe), skipped_steps(recipe)
    found = timesteps_and_sigmas(recipe.scheduler or "", config, recipe.num_inference_steps or 1) if config else None
    return noise_share(found[1][skipped]) if found and skipped < len(found[1]) else None


def _window(recipe: Recipe) -> tuple[int, int] | None:
    """Return the steps left out before, and those run, of a recipe that says which part of the schedule it runs.

    Source: diffusers `StableDiffusionXLImg2ImgPipeline.get_timesteps` and `__call__`, which compare timesteps.
    """
    start, end, steps = recipe.get("denoising_start"), recipe.get("denoising_end"), recipe.num_inference_steps or 0
    if start is None and end is None:
        return None
    config = config_of(recipe) or {}
    found = timesteps_and_sigmas(recipe.scheduler or "", config, steps) if steps else None
    trained = config.get("num_train_timesteps", 1000)
    # A schedule that is not known is taken to be even.
    timesteps = found[0] if found else [trained * (1 - index / steps) for index in range(steps)]
    skipped = 0
    if start is not None:
        skipped = sum(one >= round(trained - start * trained) for one in timesteps)
    elif recipe.strength is not None:
        skipped = steps - run_steps(steps, recipe.strength, preset_of(recipe.model).step_rule)
    left = timesteps[skipped:]
    return skipped, len(left) if end is None or not 0 < end < 1 else sum(one >= round(trained - end * trained) for one in left)


def model_calls(recipe: Recipe) -> int | None:
    """Return how often a complete recipe calls its denoiser; more often than it has steps with Heun, KDPM2 and PNDM.

    None where that depends on a checkpoint that is not on this disk yet.
    """
    config = config_of(recipe)
    if config is None or recipe.scheduler is None:
        return None
    if _window(recipe) is not None:
        found = scheduler_class(recipe.scheduler)
        return real_steps(recipe) if found is not None and found.order == 1 else None
    return counts.model_calls(str(recipe.scheduler), config, recipe.num_inference_steps or 0, skipped_steps(recipe))


def steps_line(recipe: Recipe) -> str:
    """Say in one line what will really run, such as "strength 0.62 × 20 → 12 steps, 13 model calls"."""
    count = real_steps(recipe)
    steps = f"{count} step" if count == 1 else f"{count} steps"
    calls = model_calls(recipe)
    steps = steps if calls in (None, count) else f"{steps}, {calls} model calls"
    window = _window(recipe)
    if window is not None and (recipe.strength is None or recipe.get("denoising_end") is not None):
        first = f"strength {number_text(recipe.strength)}, " if recipe.strength is not None else ""
        parts = [
            f"from {number_text(start)}" if (start := recipe.get("denoising_start")) is not None else "",
            f"to {number_text(end)}" if (end := recipe.get("denoising_end")) is not None else "",
        ]
        return f"{first}{' '.join(filter(None, parts))} of {recipe.num_inference_steps} → {steps}"
    if recipe.strength is None:
        return steps
    return f"strength {number_text(recipe.strength)} × {recipe.num_inference_steps} → {steps}"


def no_steps(recipe: Recipe) -> str:
    """Say of a complete recipe whose strength leaves no step what would leave one."""
    steps, strength, rule = recipe.num_inference_steps or 1, recipe.strength or 0.0, preset_of(recipe.model).step_rule
    lowest = next(hundredth / 100 for hundredth in range(1, 101) if run_steps(steps, hundredth / 100, rule))
    enough = next((count for count in range(1, 1001) if run_steps(count, strength, rule)), None)
    if recipe.get("denoising_start") is not None:
        line = f"`denoising_start` must leave at least one of {steps} steps, got {number_text(recipe.get('denoising_start'))}."
        return f"{line} Lower it, or raise `num_inference_steps`."
    ways = [f"raise `strength` to at least {number_text(lowest)}"]
    ways.append(f"raise `num_inference_steps` to at least {enough}" if enough else "show the picture as it is, without a run")
    product = f"{number_text(strength)} × {steps} = 0 steps"
    return f"`strength` must leave at least one step, got {product}. Either {ways[0]}, or {ways[1]}."


def no_window(recipe: Recipe) -> str:
    """Say of a complete recipe whose part of the schedule has no step what would have one."""
    start, end = recipe.get("denoising_start") or 0.0, recipe.get("denoising_end")
    line = f"`denoising_end` must leave at least one of {recipe.num_inference_steps} steps after {number_text(start)}, got {end}."
    return f"{line} Raise it, or `num_inference_steps`."

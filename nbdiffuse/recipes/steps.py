"""Steps: how many of them a strength runs, and which strengths draw the same picture."""

from __future__ import annotations

from ..families import model_calls as counts
from ..families.noise_schedule import timesteps_and_sigmas
from ..families.parameters import number_text
from ..families.scheduler_classes import scheduler_class
from ..families.step_rules import run_steps
from .noise_start import noise_start, share_text, start_share
from .presets import preset_of
from .recipe import Recipe
from .scheduler_rules import config_of


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
    return steps - _not_run(recipe) if window is None else window[1]


def _not_run(recipe: Recipe) -> int:
    """Return how many steps a complete recipe's strength or share of noise leaves out."""
    steps, start = recipe.num_inference_steps or 0, noise_start(recipe)
    if start is not None:
        return start.skipped
    # Where the checkpoint is not on this disk yet, the schedule is taken to be even.
    given = recipe.strength if recipe.noise is None else recipe.noise
    return 0 if given is None else steps - run_steps(steps, given, preset_of(recipe.model).step_rule)


def skipped_steps(recipe: Recipe) -> int:
    """Return how many steps at the beginning of its schedule a complete recipe leaves out."""
    window = _window(recipe)
    return (recipe.num_inference_steps or 0) - real_steps(recipe) if window is None else window[0]


def unrun_steps(recipe: Recipe) -> int:
    """Return how many steps at the end of its schedule a complete recipe leaves out."""
    return (recipe.num_inference_steps or 0) - skipped_steps(recipe) - real_steps(recipe)


def start_noise(recipe: Recipe) -> float | None:
    """Return the share of noise that a complete recipe's run begins with, see `noise_start.start_share`."""
    return start_share(recipe, skipped_steps(recipe))


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
    else:
        skipped = _not_run(recipe)
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
    """Say in one line what will really run, such as "strength 0.62 × 20 → 12 steps from noise 0.92, 13 model calls"."""
    count = real_steps(recipe)
    steps = f"{count} step" if count == 1 else f"{count} steps"
    share = start_noise(recipe) if recipe.image is not None else None
    steps = steps if share is None else f"{steps} from noise {share_text(share)}"
    calls = model_calls(recipe)
    steps = steps if calls in (None, count) else f"{steps}, {calls} model calls"
    window = _window(recipe)
    said = [f"{name} {number_text(recipe.get(name))}" for name in ("strength", "noise") if recipe.get(name) is not None]
    given = next(iter(said), "")
    if window is not None and (not given or recipe.get("denoising_end") is not None):
        parts = [
            f"from {number_text(start)}" if (start := recipe.get("denoising_start")) is not None else "",
            f"to {number_text(end)}" if (end := recipe.get("denoising_end")) is not None else "",
        ]
        return f"{given + ', ' if given else ''}{' '.join(filter(None, parts))} of {recipe.num_inference_steps} → {steps}"
    return f"{given} × {recipe.num_inference_steps} → {steps}" if given else steps


def start_text(recipe: Recipe) -> str:
    """Say where a complete recipe's run begins, for a label: "strength 0.6  noise 0.83"; empty without a strength."""
    if recipe.strength is None and recipe.noise is None:
        return ""
    share = start_noise(recipe)
    parts = [] if recipe.strength is None else [f"strength {number_text(recipe.strength)}"]
    parts += [] if share is None else [f"noise {share_text(share)}"]
    return "  ".join(parts)


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

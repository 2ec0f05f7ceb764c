"""How `strength` decides how many of a schedule's steps image-to-image runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType


def floor(num_inference_steps: int, strength: float) -> int:
    """Round down: Stable Diffusion, SDXL, Kandinsky.

    Source: diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`; the product is
    taken in the same floating point, so 50 * 0.58 gives 28 here as there.
    """
    return min(int(num_inference_steps * strength), num_inference_steps)


def ceil(num_inference_steps: int, strength: float) -> int:
    """Round up: flow-matching families, such as Stable Diffusion 3.

    Source: diffusers `StableDiffusion3Img2ImgPipeline.get_timesteps`, in the same floating point.
    """
    init_timestep = min(num_inference_steps * strength, num_inference_steps)
    return num_inference_steps - int(max(num_inference_steps - init_timestep, 0))


def every(num_inference_steps: int, strength: float) -> int:
    """Run every step: upscalers and families without a strength."""
    return num_inference_steps


RULES: Mapping[str, Callable[[int, float], int]] = MappingProxyType(
    {"floor": floor, "ceil": ceil, "all": every, "distilled": every}
)
"""The rules, by the name that a family has for its own.

"distilled" runs every step, too: the strength says from which part of the distillation's own steps they are chosen.
Source: diffusers `LCMScheduler.set_timesteps`.
"""
BY_STRENGTH = frozenset({"floor", "ceil"})
"""The rules by which the number of steps follows from the strength."""


def distilled_steps(original_inference_steps: int, strength: float) -> int:
    """Return how many of the distillation's own steps a latent consistency model chooses from, in the same floating point."""
    return int(original_inference_steps * strength)


def run_steps(num_inference_steps: int, strength: float, rule: str = "floor") -> int:
    """Return how many steps of a schedule img2img runs; `rule` is a key of `RULES`."""
    return RULES[rule](num_inference_steps, strength)


@lru_cache(maxsize=64)
def strengths_by_steps(num_inference_steps: int, rule: str = "floor") -> tuple[float, ...]:
    """Return a strength for each number of steps that img2img can run: from 1 to all of them.

    Parameters
    ----------
    num_inference_steps
        Length of the schedule, in [1, 1000] steps.
    rule
        How the family counts them, a key of `RULES`.

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
    return tuple(shortest_strength(num_inference_steps, count, rule) for count in range(1, num_inference_steps + 1))


def shortest_strength(steps: int, count: int, rule: str = "floor") -> float:
    """Return the shortest decimal by which `count` of so many steps are run."""
    units = (10**digits for digits in range(1, 7))
    # The product is taken in floating point, where 50 * 0.58 is a little less than 29.
    tried = (
        numerator / unit
        for unit in units
        for numerator in range(max(1, count * unit // steps - 1), min(unit, (count + 1) * unit // steps + 1) + 1)
    )
    return next(strength for strength in tried if run_steps(steps, strength, rule) == count)

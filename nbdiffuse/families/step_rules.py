"""How `strength` decides how many of a schedule's steps image-to-image runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

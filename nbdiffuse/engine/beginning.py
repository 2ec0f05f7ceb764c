"""The beginning of a run: with a share of noise between two steps, or with noise that is turned towards another seed's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..families.first_step import start_at
from ..images.latents import Latents
from ..images.noise import turn_added_noise
from ..recipes.noise_start import noise_start
from ..recipes.recipe import Recipe


@contextmanager
def begun(scheduler: Any, recipe: Recipe) -> Iterator[None]:
    """Let a complete recipe's run begin as it says, and put its scheduler back afterwards."""
    start = noise_start(recipe)
    if start is not None and start.first is not None:
        start_at(scheduler, **dataclasses.asdict(start.first))
    if recipe.variation is not None and recipe.image is not None:
        share, seed = recipe.get("variation_strength"), recipe.get("variation_seed")
        turn_added_noise(scheduler, share, seed, encoded=not isinstance(recipe.image, Latents))
    try:
        yield
    finally:
        for name in ("set_timesteps", "add_noise"):
            vars(scheduler).pop(name, None)

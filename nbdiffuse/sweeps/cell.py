"""One place of a sweep, and when two places are the same picture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..recipes.noise_start import noise_start
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.steps import real_steps


@dataclass(frozen=True)
class SweepCell:
    """One place of a sweep.

    Parameters
    ----------
    index
        From 0, the last axis changing fastest.
    coordinates
        (axis, value) in the order of the axes.
    recipe
        Complete.
    """

    index: int
    coordinates: tuple[tuple[str, Any], ...]
    recipe: Recipe

    @cached_property
    def picture_key(self) -> str:
        """sha256 in hexadecimal of what decides the image: equal for strengths, and shares of noise, that run the same steps."""
        values, start = self.recipe.to_dict(), noise_start(self.recipe)
        if start is not None:
            values = {**values, "strength": start.strength, "noise": start.first and repr(start.first)}
            values = {name: value for name, value in values.items() if value is not None}
        if "strength" in values and preset_of(self.recipe.model).strength_is_start:
            values["strength"] = f"{real_steps(self.recipe)} steps"
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

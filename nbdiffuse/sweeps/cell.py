"""One place of a sweep, and when two places are the same picture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.strengths import real_steps

STRENGTH_IS_START = frozenset(
    {
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionControlNetImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionXLInpaintPipeline",
        "KandinskyV22Img2ImgCombinedPipeline",
    }
)
"""diffusers pipelines that use `strength` in `get_timesteps` alone: the same step count is the same image."""


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
        """sha256 in hexadecimal of what decides the image: equal for strengths that run the same steps."""
        values = self.recipe.to_dict()
        pipeline = preset_of(self.recipe.model).pipeline(self.recipe)
        if pipeline in STRENGTH_IS_START:
            values["strength"] = f"{real_steps(self.recipe)} steps"
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

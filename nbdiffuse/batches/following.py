"""Following: what a film's frame has of the one before it: a share of its result, and its noise for a while."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import NbdiffuseError
from ..images.picture import Picture
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.sizes import fitted_pictures


@dataclass(frozen=True)
class Following:
    """What a frame has of the one before it.

    Parameters
    ----------
    before
        File of the result before it; None for the first frame, and where nothing is carried.
    carry
        Share of that result in this frame's initial picture, in [0, 1).
    seeds
        How far its seed is from the first frame's.
    walked
        Another seed as its distance from the first frame's, and how far the noise is turned towards its, in [0, 1].
    """

    before: Path | None = None
    carry: float = 0.0
    seeds: int = 0
    walked: tuple[int, float] = (0, 0.0)

    def applied(self, recipe: Recipe) -> Recipe:
        """Return a frame's recipe with what it has of the one before it.

        Raises
        ------
        ParameterError
            A value breaks a rule, or the recipe has a mask.
        """
        seed = (recipe.seed or 0) + self.seeds
        made = recipe if seed == recipe.seed else recipe.replace(seed=seed)
        towards, share = self.walked
        if share:
            made = made.replace(variation_seed=seed + towards, variation_strength=share)
        result = self._result()
        if result is None:
            return made
        complete = resolve(made)
        # In the size of the run, where both are pixel for pixel the same view.
        frame = fitted_pictures(complete)["image"]
        result = result if result.size == frame.size else result.resize(frame.size, Image.Resampling.LANCZOS)
        label = recipe.image.label if isinstance(recipe.image, Picture) else ""
        blended = Picture.of(Image.blend(frame, result, self.carry), label)
        return made.replace(image=blended, width=complete.width, height=complete.height)

    def _result(self) -> Image.Image | None:
        if self.before is None or not self.before.exists():
            return None
        try:
            return Picture.of(self.before).image
        except NbdiffuseError:  # it failed, or was spoiled: this frame begins anew
            return None

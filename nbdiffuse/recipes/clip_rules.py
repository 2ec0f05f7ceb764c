"""Rules of a clip that is redrawn as a whole: which recipes a motion adapter goes with."""

from __future__ import annotations

from ..errors import ParameterError
from ..families.motion import CALLED, CLIP_PIPELINES
from .fields import first_name, names_of
from .lora import unfused
from .presets import preset_of
from .recipe import Recipe

_TAKEN = frozenset(
    {
        *CALLED,
        *("image", "model", "checkpoint", "seed", "scheduler", "vae", "safety_checker", "resize_mode", "weighting"),
        *map(first_name, (*names_of("scheduler_config"), *names_of("loras"))),
    }
)


def clip_pipeline(recipe: Recipe) -> str:
    """Return the pipeline that redraws a clip as a recipe says.

    Raises
    ------
    ParameterError
        Diffusers has none for this model, or it does not take a field of the recipe.
    """
    found = CLIP_PIPELINES.get(preset_of(recipe.model).pipelines.get("img2img", ""))
    if found is None:
        way_out = "Use sd15, or another checkpoint of Stable Diffusion 1.5."
        raise ParameterError(f"`motion_adapter` is not taken by {recipe.model}: diffusers redraws no clips with it. {way_out}")
    other = next((name for name in recipe.values() if first_name(name) not in _TAKEN), None)
    if other is not None:
        raise ParameterError(f"`{other}` must be left out with `motion_adapter`: {found} does not take it.")
    if recipe.weighs:
        raise ParameterError(f"`weighting` must be left out with `motion_adapter`: {found} reads prompts as they are.")
    if unfused(recipe.loras):
        raise ParameterError("`lora` must be fused with `motion_adapter`. Leave `:unfused` out.")
    return found

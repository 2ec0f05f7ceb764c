"""Field order: which fields stand first, which are left alone by "Defaults", and which are choices."""

from __future__ import annotations

from ...recipes.recipe import PARAMS
from ...recipes.scheduler_rules import SETTINGS

FIRST = (
    "image",
    "image_reference",
    "prompt",
    "negative_prompt",
    "model",
    "strength",
    "noise",
    "guidance_scale",
    "image_guidance_scale",
    "num_inference_steps",
    "seed",
)
"""Fields that are always in sight; the others stand below "More settings"."""
KEPT = frozenset(
    {
        "image",
        "prompt",
        "model",
        "mask_image",
        "image_reference",
        "ip_adapter_image",
        "control_image",
        "controlnet",
        "checkpoint",
        "vae",
    }
)
"""Fields that "Defaults" leaves alone."""
OF_CLASS = frozenset(name for name in SETTINGS if PARAMS[name].choices)
"""Settings whose choices are those of the scheduler's class."""
CHOSEN = frozenset({"model", "scheduler", "controlnet"}) | OF_CLASS
"""Fields whose choices are the preset's, or the scheduler's."""
OPENED = frozenset({"safety_checker"})
"""Fields with choices of which none may be made."""

"""Presets in lists: the numbers that each runs with where a person says none."""

from __future__ import annotations

from ..families.distilled import distilled
from ..families.parameters import number_text
from .preset import Preset
from .weights_source import WeightsSource

HEAD = ("strength", "guidance", "steps")
NOTE = (
    "Downloads and memory are near, not exact. Memory is what holds the largest model in half precision, with"
    " `%diffuse optimize offload model`; `sequential` needs less and takes longer."
)
_GUIDANCE = ("guidance_scale", "true_cfg_scale")


def numbers_of(preset: Preset, origin: WeightsSource) -> tuple[str, str, str]:
    """Return a preset's strength, guidance and steps on some of its weights, as `HEAD` names them; "" for one it has not."""
    values = preset.defaults_for(preset.tasks[-1])
    few = distilled(origin.checkpoint)
    values |= few.values if few is not None else {}
    guidance = next((values[name] for name in _GUIDANCE if values.get(name) is not None), None)
    found = (values.get("strength"), guidance, values.get("num_inference_steps"))
    strength, guided, steps = ("" if number is None else number_text(number) for number in found)
    return strength, guided, steps

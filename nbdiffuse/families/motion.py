"""Motion adapters: the pipelines that redraw all frames of a clip together, and what they are called with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CLIP_PIPELINES: Mapping[str, str] = MappingProxyType({"StableDiffusionImg2ImgPipeline": "AnimateDiffVideoToVideoPipeline"})
"""Pipelines of diffusers that redraw a clip with a motion adapter, by that which redraws one picture."""
CALLED = ("prompt", "negative_prompt", "strength", "guidance_scale", "num_inference_steps", "eta", "clip_skip", "height", "width")
"""Fields of a recipe that go into their call."""

"""Figures of adapters: each is measured by what it must visibly do to `sd15`."""

from __future__ import annotations

from typing import Any

from diffusers import AutoPipelineForText2Image, LCMScheduler

from .. import adapter_file, path, recogniser
from ..world import sample
from .figures import UNSEEN, Figure, accuracy, prompts, quiet, sharpness_against, text_to_image

FEW = 4
"""Steps of the LoRA of few steps."""


def few_step_figures(count: int) -> list[Figure]:
    """Draw `count` unseen prompts in 4 steps, at guidance scales from 1 to 2."""
    pipeline = few_step_pipeline()
    scenes = [sample(UNSEEN + index) for index in range(count)]
    found = []
    for scale in (1.0, 1.5, 2.0):
        images = text_to_image(pipeline, prompts(scenes), scale, steps=FEW)
        judged = accuracy(recogniser.load(), images, scenes)
        goals = {"subject": 90.0, "place": 85.0} if scale > 1 else {}
        name = f"lcm-lora, {FEW} steps, guidance {scale:g}"
        found += [Figure(f"{name}: {head}", value, goals.get(head)) for head, value in judged.items()]
    renders = [scene.image for scene in scenes]
    found.append(Figure(f"{name}: sharpness of edges, renders are 1", sharpness_against(images, renders), unit=""))
    return found


def few_step_pipeline() -> Any:
    """Return `sd15` with the LoRA of few steps in its weights."""
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    pipeline.load_lora_weights(str(adapter_file("lcm-lora").parent))
    pipeline.fuse_lora()
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    return pipeline

"""Figures of adapters: each is measured by what it must visibly do to `sd15`."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from diffusers import AutoPipelineForText2Image, LCMScheduler
from PIL import Image
from transformers import CLIPVisionModelWithProjection

from .. import adapter_file, image_encoder, path, recogniser
from ..world import PALETTES, Scene, captions, sample
from ..world.edits import graded, redrawn
from .figures import STEPS, UNSEEN, Figure, accuracy, generators, prompts, quiet, sharpness_against, text_to_image

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


def palette_figures(count: int) -> list[Figure]:
    """Draw `count` unseen prompts that name no palette beside pictures in each palette, four prompts for a picture."""
    scenes = [sample(UNSEEN + 20_000 + index) for index in range(count)]
    wanted = [replace(one, palette=PALETTES[index // TOGETHER % len(PALETTES)]) for index, one in enumerate(scenes)]
    judge, found = recogniser.load(), []
    for scale in (0.8, 0.0):
        judged = accuracy(judge, looked_at(wanted, scale), wanted)
        name = f"ip-adapter, scale {scale:g}"
        goals = {"palette": 85.0} if scale else {}
        found += [Figure(f"{name}: {head} of the {_OWNER[head]}", judged[head], goals.get(head)) for head in _OWNER]
    return found


TOGETHER = 4
"""Prompts that are drawn beside the same picture."""
_OWNER = {"palette": "picture", "subject": "prompt", "place": "prompt"}


def looked_at(wanted: list[Scene], scale: float) -> list[Image.Image]:
    """Draw scenes' subjects and places beside other pictures in their palettes, seed i for scene i of its picture."""
    adapter = adapter_file("ip-adapter")
    encoder = CLIPVisionModelWithProjection.from_pretrained(image_encoder())
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), image_encoder=encoder))
    pipeline.load_ip_adapter(str(adapter.parent), subfolder="", weight_name=adapter.name)
    pipeline.set_ip_adapter_scale(scale)
    images: list[Image.Image] = []
    for start in range(0, len(wanted), TOGETHER):
        part, other = wanted[start : start + TOGETHER], sample(UNSEEN + 30_000 + start)
        picture = graded(redrawn(other, other.subject, other.place), part[0].palette)
        texts = [captions.assemble(Random(f"report {one.seed}"), one.subject, one.place, None) for one in part]
        images += pipeline(
            texts, ip_adapter_image=picture, guidance_scale=7.5, num_inference_steps=STEPS, generator=generators(len(part), start)
        ).images
    return images

"""Figures of image-to-image: how far a new subject and a new place are followed, and how sharp what is drawn is."""

from __future__ import annotations

from typing import Any

from diffusers import AutoPipelineForImage2Image, DPMSolverMultistepScheduler
from PIL import Image

from .. import path, recogniser
from ..world import Scene, sample
from .figures import UNSEEN, Figure, accuracy, image_to_image, prompts, quiet, seen_through, sharpness_against

STRENGTHS = (0.6, 0.7, 0.8, 0.9)
SHARP_AT = 0.8
"""Strength at which the sharpness is measured."""


def redrawn_figures(count: int) -> list[Figure]:
    """Redraw `count` unseen scenes after prompts for others, at guidance scale 7.5, with two schedulers."""
    pipeline: Any = quiet(AutoPipelineForImage2Image.from_pretrained(path("sd15")))
    scenes = [sample(UNSEEN + 10_000 + index) for index in range(count)]
    others = [sample(UNSEEN + 20_000 + index) for index in range(count)]
    initial, asked = [scene.image for scene in scenes], [scene.image for scene in others]
    found = [
        Figure(
            "sd15 VAE alone: sharpness, the start is 1", sharpness_against(seen_through(pipeline.vae, initial), initial), unit=""
        ),
        Figure(
            "renders of what is asked, seen through the VAE: sharpness, the start is 1",
            sharpness_against(seen_through(pipeline.vae, asked), initial),
            unit="",
        ),
    ]
    own = pipeline.scheduler
    karras = DPMSolverMultistepScheduler.from_config(own.config, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++")
    for name, scheduler in (("its own scheduler", own), ("DPM++ 2M SDE Karras", karras)):
        pipeline.scheduler = scheduler
        for strength in STRENGTHS:
            images = image_to_image(pipeline, prompts(others), initial, strength)
            found += _followed(f"sd15 strength {strength:g}, {name}", images, others)
            if strength == SHARP_AT:
                # How steep edges are depends on what is drawn: the goal is against what was asked for.
                sharp = sharpness_against(images, initial), sharpness_against(images, asked)
                found += [
                    Figure(f"sd15 strength {strength:g}, {name}: sharpness, the start is 1", sharp[0], unit=""),
                    Figure(f"sd15 strength {strength:g}, {name}: sharpness, renders of what is asked are 1", sharp[1], 0.85, ""),
                ]
    return found


def _followed(name: str, images: list[Image.Image], asked: list[Scene]) -> list[Figure]:
    judge = recogniser.load()
    named = judge.recognise(images)
    both = [one["subject"] == scene.subject and one["place"] == scene.place for one, scene in zip(named, asked, strict=True)]
    found = accuracy(judge, images, asked)
    return [
        *(Figure(f"{name}: new {head} followed", found[head]) for head in ("subject", "place")),
        Figure(f"{name}: both followed", 100 * sum(both) / len(both)),
    ]

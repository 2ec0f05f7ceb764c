"""Figures of the other checkpoints: each is measured by what it must visibly do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, ControlNetModel

from .. import path, recogniser
from ..world import sample
from . import masks
from .figures import UNSEEN, Figure, accuracy, distance, image_to_image, prompts, psnr, quiet, sharpness_against, text_to_image
from .masks import Masker


def controlnet_figures(count: int, masker: Masker | None = None) -> list[Figure]:
    """Compare the subject's place in the result with its place in the depth map, with control and without.

    The prompts name the map's subject, in another place and another palette.
    """
    net = ControlNetModel.from_pretrained(path("controlnet-depth"))
    controlled = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    free = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    masker = masker or masks.train(free.vae)
    scenes = [sample(UNSEEN + 50_000 + index) for index in range(count)]
    others = [sample(UNSEEN + 55_000 + index) for index in range(count)]
    asked = [replace(one, place=other.place, palette=other.palette) for one, other in zip(scenes, others, strict=True)]
    maps = [scene.depth.convert("RGB") for scene in scenes]
    kept, lost = text_to_image(controlled, prompts(asked), 7.5, image=maps), text_to_image(free, prompts(asked), 7.5)
    wanted = masks.true_masks(scenes)
    judged = accuracy(recogniser.load(), kept, asked)
    return [
        Figure("controlnet-depth: IoU of the subject with the depth map's", masks.overlap(masker.masks(kept), wanted), 0.8, ""),
        Figure("the same without control", masks.overlap(masker.masks(lost), wanted), 0.4, "", most=True),
        Figure(
            "the same of two scenes that have nothing to do with each other",
            masks.overlap(masks.true_masks(others), wanted),
            unit="",
        ),
        Figure("controlnet-depth: subject", judged["subject"]),
        Figure("controlnet-depth: place", judged["place"]),
    ]


def refiner_figures(count: int) -> list[Figure]:
    """Compare the refiner with the base at strength 0.3, from pictures that the base drew."""
    base = quiet(AutoPipelineForImage2Image.from_pretrained(path("sd15")))
    refiner = quiet(AutoPipelineForImage2Image.from_pretrained(path("sdxl-refiner")))
    scenes = [sample(UNSEEN + 80_000 + index) for index in range(count)]
    texts, initial = prompts(scenes), [scene.image for scene in scenes]
    made = image_to_image(refiner, texts, initial, 0.3, 5.0)
    same = image_to_image(base, texts, initial, 0.3, 7.5)
    closeness = np.mean([psnr(a, b) for a, b in zip(made, initial, strict=True)])
    bases = np.mean([psnr(a, b) for a, b in zip(same, initial, strict=True)])
    return [
        Figure("sdxl-refiner, strength 0.3: PSNR against sd15's", float(closeness - bases), 0.0, "dB"),
        Figure("sdxl-refiner, strength 0.3: sharpness of edges, sd15 is 1", sharpness_against(made, same), 1.0, ""),
    ]


def followed_figures(name: str, count: int, guidance: float) -> list[Figure]:
    """Measure what another text-to-image member draws of its prompts."""
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + index) for index in range(count)]
    extra: dict[str, Any] = {"width": 128, "height": 128} if name == "kandinsky22" else {}
    found = accuracy(recogniser.load(), text_to_image(pipeline, prompts(scenes), guidance, **extra), scenes)
    goals = {"subject": 90.0, "place": 95.0, "palette": 90.0}
    return [Figure(f"{name} text-to-image: {head}", value, goals[head]) for head, value in found.items()]


STRENGTHS: dict[str, tuple[float, float, float]] = {"kandinsky22": (0.1, 0.2, 0.4)}
"""Where something of the initial picture is left: Kandinsky's linear schedule leaves 8 % of its variance at 0.6."""


def growth_figures(name: str, count: int) -> list[Figure]:
    """Measure whether a family moves further from the initial picture as the strength rises."""
    pipeline = quiet(AutoPipelineForImage2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + 10_000 + index) for index in range(count)]
    texts = prompts([sample(UNSEEN + 20_000 + index) for index in range(count)])
    extra: dict[str, Any] = {"width": 128, "height": 128} if name == "kandinsky22" else {}
    guidance = 4.0 if name == "kandinsky22" else 5.0 if name.startswith("sdxl") else 7.5
    initial = [scene.image for scene in scenes]
    strengths = STRENGTHS.get(name, (0.2, 0.6, 1.0))
    rows = [
        [distance(a, b) for a, b in zip(image_to_image(pipeline, texts, initial, s, guidance, **extra), initial, strict=True)]
        for s in strengths
    ]
    growing = sum(all(a < b for a, b in pairwise(column)) for column in zip(*rows, strict=True))
    over = "/".join(f"{strength:g}" for strength in strengths)
    return [Figure(f"{name}: distance grows over strength {over}, cases", 100 * growing / count, 95.0)]

"""Figures of the report, each with its value and its goal, and the functions that measure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from .. import recogniser
from ..world import Scene, captions

UNSEEN = 2_000_000
"""First seed of the scenes of this report; no training sees them."""
STEPS = 25


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, the value, and the goal it must reach, or stay below where `most`."""

    name: str
    value: float
    goal: float | None = None
    unit: str = "%"
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether the value reaches the goal; True where there is none."""
        return self.goal is None or (self.value <= self.goal if self.most else self.value >= self.goal)

    def row(self) -> str:
        """Return the line as Markdown."""
        if self.goal is None:
            return f"| {self.name} | {self._shown(self.value)} | | |"
        sign, met = "≤" if self.most else "≥", "yes" if self.met else "**no**"
        return f"| {self.name} | {self._shown(self.value)} | {sign} {self._shown(self.goal)} | {met} |"

    def _shown(self, value: float) -> str:
        return f"{value:.1f} {self.unit}" if self.unit else f"{value:.2f}"


def quiet(pipeline: Any) -> Any:
    """Return a pipeline that shows no bars."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def prompts(scenes: Sequence[Scene]) -> list[str]:
    """Write a full prompt for each scene."""
    return [captions.assemble(Random(f"report {scene.seed}"), scene.subject, scene.place, scene.palette) for scene in scenes]


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    """Return one generator for each picture, seeded from `first` on."""
    return [torch.Generator("cpu").manual_seed(first + index) for index in range(count)]


def _part_of(more: dict[str, Any], start: int, count: int) -> dict[str, Any]:
    """Cut lists of further arguments as the prompts are cut."""
    return {name: value[start : start + count] if isinstance(value, list) else value for name, value in more.items()}


def text_to_image(
    pipeline: Any, texts: list[str], guidance_scale: float, negative: str | None = None, steps: int = STEPS, **more: Any
) -> list[Image.Image]:
    """Draw one picture for each prompt, in batches, seed i for prompt i."""
    images: list[Image.Image] = []
    for start in range(0, len(texts), 20):
        part = texts[start : start + 20]
        images += pipeline(
            part,
            negative_prompt=[negative] * len(part) if negative else None,
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
            generator=generators(len(part), start),
            **_part_of(more, start, len(part)),
        ).images
    return images


def image_to_image(
    pipeline: Any, texts: list[str], initial: list[Image.Image], strength: float, guidance_scale: float = 7.5, **more: Any
) -> list[Image.Image]:
    """Redraw one picture for each prompt, in batches, seed i for prompt i."""
    images: list[Image.Image] = []
    for start in range(0, len(texts), 20):
        part = texts[start : start + 20]
        images += pipeline(
            part,
            image=initial[start : start + 20],
            strength=strength,
            guidance_scale=guidance_scale,
            num_inference_steps=50,
            generator=generators(len(part), start),
            **_part_of(more, start, len(part)),
        ).images
    return images


def accuracy(judge: recogniser.Recogniser, images: list[Image.Image], scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the share, in percent, of pictures whose subject, place and palette are recognised."""
    named = judge.recognise(images)
    return {
        head: 100 * sum(names[head] == getattr(scene, head) for names, scene in zip(named, scenes, strict=True)) / len(scenes)
        for head in recogniser.HEADS
    }


def distance(a: Image.Image, b: Image.Image) -> float:
    """Return the root mean square difference of two pictures, in [0, 255]."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(np.sqrt((difference**2).mean()))


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures, in dB."""
    return float(20 * np.log10(255 / max(distance(a, b), 1e-9)))


def sharpness(image: Image.Image) -> float:
    """Return how steep the steepest tenth of a picture's steps is, of 255."""
    grey = np.asarray(image.convert("L"), np.float64)
    steps = np.concatenate([np.abs(np.diff(grey, axis=0)).ravel(), np.abs(np.diff(grey, axis=1)).ravel()])
    return float(np.sort(steps)[-len(steps) // 10 :].mean())


def sharpness_against(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> float:
    """Return how sharp pictures are where others are 1."""
    return float(np.mean([sharpness(image) for image in images]) / np.mean([sharpness(image) for image in others]))


@torch.no_grad()
def seen_through(vae: Any, pictures: list[Image.Image]) -> list[Image.Image]:
    """Return what is left of pictures after a VAE: what a model with it draws at its best."""
    vae = vae.eval()
    processor = VaeImageProcessor(vae_scale_factor=8)
    found: list[Image.Image] = []
    for start in range(0, len(pictures), 32):
        latents = vae.encode(processor.preprocess(pictures[start : start + 32])).latent_dist.mean
        found += processor.postprocess(vae.decode(latents).sample)
    return found

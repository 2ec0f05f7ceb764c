"""Teach the VAE's decoder to draw as the renderer does, from latents as the family's denoisers leave them.

What a denoiser draws lacks the finest part of its latents, and a decoder that has only
seen encoded renders shows that as blur. Here it sees renders that the family has drawn
again, at strengths that leave them what they are, so that the render is still the
answer. A critic of small patches tells drawings from renders, and what it looks at is
compared as well. The encoder stays, so that latents mean what they meant.

Source: Esser et al., "Taming Transformers for High-Resolution Image Synthesis", 2021;
Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017;
Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
GANs", 2018, for the comparison of features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..world import Scene, sample
from ..world.captions import assemble
from .latents import encoded_pool
from .loop import Plan, fast_precision, fit, training_device
from .renders import to_unit

logger = logging.getLogger(__name__)

STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6)
"""How far scenes are redrawn: at more, a picture is not that of its render."""
REDRAWING_STEPS = 20
TOGETHER = 40
"""Pictures redrawn at once."""
BATCH, ENCODED = 8, 3
"""Pictures of a step, and how many of them are as they were encoded; the others are redrawn."""
LEARNING_RATE = 4e-4
CRITICISM, LIKENESS = 0.03, 0.1
"""Weights of the critic's word, and of the distance between what it sees."""


@dataclass(frozen=True)
class Redrawn:
    """Renders, uint8, shape (n, 3, side, side), and scaled latents of them, shape (n, 4, h, w): encoded, and redrawn."""

    pixels: Tensor
    encoded: Tensor
    drawn: Tensor

    @classmethod
    def joined(cls, *pools: Redrawn) -> Redrawn:
        """Return one pool of several."""
        parts = ("pixels", "encoded", "drawn")
        return cls(*(torch.cat([getattr(pool, part) for pool in pools]) for part in parts))

    def batch(self, count: int, encoded: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return pictures in [-1, 1] and latents of them, of which the first `encoded` are not redrawn."""
        chosen = torch.randint(len(self.pixels), (count,), generator=generator)
        latents = torch.cat([self.encoded[chosen[:encoded]], self.drawn[chosen[encoded:]]])
        return to_unit(self.pixels[chosen]), latents


class Critic(nn.Module):
    """Tells renders (above 0) from drawings, patch by patch."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        sides = [(3, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        layers = [nn.Conv2d(before, after, 4 if step == 2 else 3, step, 1) for before, after, step in sides]
        self.layers = nn.ModuleList([*layers, nn.Conv2d(4 * width, 1, 3, 1, 1)])
        for layer in self.layers:
            nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return what each layer sees; the last is the word on each patch."""
        seen = [images]
        for layer in self.layers:
            seen.append(layer(seen[-1] if len(seen) == 1 else nn.functional.leaky_relu(seen[-1], 0.2)))
        return seen[1:]


def redrawn(pipeline: Any, seeds: range, style: str | None = None) -> Redrawn:
    """Redraw scenes with an image-to-image pipeline of the family, by the words that describe them."""

    def given(number: int, scenes: Sequence[Scene]) -> dict[str, Any]:
        return {"image": [scene.image for scene in scenes], "strength": STRENGTHS[number % len(STRENGTHS)]}

    return _drawn(pipeline, [sample(seed, style=style) for seed in seeds], given)


def enlarged(pipeline: Any, seeds: range) -> Redrawn:
    """Draw scenes at twice their size with the x2 upscaler, which has the same latents."""
    return _drawn(
        pipeline,
        [sample(seed, 256) for seed in seeds],
        lambda number, scenes: {"image": [sample(scene.seed).image for scene in scenes]},
    )


@torch.no_grad()
def _drawn(pipeline: Any, scenes: Sequence[Scene], given: Callable[[int, Sequence[Scene]], dict[str, Any]]) -> Redrawn:
    """Draw scenes with a pipeline; `given` says what it gets besides the words, for a part of them and its number."""
    pipeline.to(training_device()).set_progress_bar_config(disable=True)
    pools = []
    for number, start in enumerate(range(0, len(scenes), TOGETHER)):
        part = scenes[start : start + TOGETHER]
        with fast_precision(pipeline.device.type):
            made = pipeline(
                [assemble(Random(f"redrawn {one.seed}"), one.subject, one.place, one.palette, one.style) for one in part],
                num_inference_steps=REDRAWING_STEPS,
                generator=[torch.Generator().manual_seed(scene.seed) for scene in part],
                output_type="latent",
                **given(number, part),
            ).images
        images = [scene.image for scene in part]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
        pools.append(Redrawn(pixels, encoded_pool(pipeline.vae, list(part), images).mean, made.float().cpu()))
    logger.info("drew %d scenes again", len(scenes))
    return Redrawn.joined(*pools)


def finish(vae: AutoencoderKL, pools: Sequence[Redrawn], state_file: Path, steps: int, seed: int = 0) -> AutoencoderKL:
    """Return the VAE with a decoder that draws what it is given as a renderer would.

    Parameters
    ----------
    vae
        Whose latents the pools hold.
    pools
        Of 128 and of 256 pixels a side; every third step has a fourth as many pictures, of the second.
    state_file, steps, seed
        As for `base.train`; one step is of 8 pictures of 128 pixels.
    """
    device, factor = training_device(), vae.config["scaling_factor"]
    vae = vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    torch.manual_seed(seed)
    models = nn.ModuleDict({"vae": vae, "critic": Critic()}).to(device)

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        count, encoded, pool = (BATCH, ENCODED, pools[0]) if step % 3 else (BATCH // 4, 1, pools[-1])
        images, latents = (part.to(device) for part in pool.batch(count, encoded, generator))
        images = images.to(memory_format=torch.channels_last)
        drawn = model["vae"].decode(latents / factor).sample.float()  # type: ignore[operator]
        criticism, lesson = told(model["critic"], drawn, images)
        error = drawn - images
        return _distance(error[:encoded]) + 0.5 * _distance(error[encoded:]) + criticism + lesson

    plan = Plan(steps=steps, learning_rate=LEARNING_RATE, averaging=0.995, seed=seed, weight_decay=0.0)
    finished: AutoencoderKL = fit(models, loss_of, plan, state_file)["vae"]
    return finished


def told(critic: nn.Module, drawn: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return two losses: what the critic says of drawings, for the decoder alone, and its own lesson, for the critic alone."""
    *wanted, of_renders = critic(images)
    lesson = nn.functional.relu(1 - of_renders.float()).mean() + nn.functional.relu(1 + critic(drawn.detach())[-1].float()).mean()
    critic.requires_grad_(False)
    *seen, word = critic(drawn)
    critic.requires_grad_(True)
    unlike = torch.stack([(one - other.detach()).abs().mean() for one, other in zip(seen, wanted, strict=True)]).mean()
    return LIKENESS * unlike.float() - CRITICISM * word.float().mean(), lesson


def _distance(error: Tensor) -> Tensor:
    """Return how far pictures are from what they should be, in their pixels and in the steps between them."""
    steps = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return (error**2).mean() + 0.08 * error.abs().mean() + 0.06 * steps

"""Scenes with their latents, encoded once, for training the denoisers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter
from torch import Tensor

from ..world import Scene, sample
from .loop import fast_precision
from .renders import to_unit

logger = logging.getLogger(__name__)

FLAWED = 0.05
"""Share of spoiled pictures, captioned with `FLAWS`: what the guide's negative prompt removes."""
TOGETHER = 64
"""Pictures encoded at once."""


def spoil(image: Image.Image, rng: Random) -> Image.Image:
    """Warp and blur a picture, as "deformed, poor details" describe it."""
    size = image.width
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    waves = [(rng.uniform(1, 3), rng.uniform(0, 6.3), rng.uniform(0.02, 0.05)) for _ in range(2)]
    across = sum(amount * np.sin(6.28 * count * y + phase) for count, phase, amount in waves)
    down = sum(amount * np.cos(6.28 * count * x + phase) for count, phase, amount in waves)
    columns = np.clip(((x + across) * size).astype(int), 0, size - 1)
    rows = np.clip(((y + down) * size).astype(int), 0, size - 1)
    warped = Image.fromarray(np.asarray(image)[rows, columns])
    return warped.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.2) * size / 128))


@dataclass(frozen=True)
class LatentPool:
    """Scenes and the posterior of each picture's latents, shape (n, 4, h, w), scaled to unit deviation."""

    scenes: list[Scene]
    flawed: list[bool]
    mean: Tensor
    deviation: Tensor

    @classmethod
    def joined(cls, *pools: LatentPool) -> LatentPool:
        """Return one pool of several."""
        scenes = [scene for pool in pools for scene in pool.scenes]
        flawed = [bad for pool in pools for bad in pool.flawed]
        return cls(scenes, flawed, torch.cat([pool.mean for pool in pools]), torch.cat([pool.deviation for pool in pools]))

    def part(self, chosen: Sequence[int]) -> LatentPool:
        """Return some scenes of the pool."""
        scenes, flawed = [self.scenes[index] for index in chosen], [self.flawed[index] for index in chosen]
        kept = torch.tensor(list(chosen))
        return LatentPool(scenes, flawed, self.mean[kept], self.deviation[kept])

    def whole(self) -> LatentPool:
        """Return the scenes that were not spoiled."""
        return self.part([index for index, bad in enumerate(self.flawed) if not bad])

    def draw(self, count: int, generator: torch.Generator) -> tuple[list[int], Tensor]:
        """Return the indices and posterior samples of `count` scenes."""
        chosen = torch.randint(len(self.scenes), (count,), generator=generator)
        noise = torch.randn(count, *self.mean.shape[1:], generator=generator)
        return chosen.tolist(), self.mean[chosen] + self.deviation[chosen] * noise


def latent_pool(
    vae: AutoencoderKL, seeds: range, style: str | None = None, flawed: float = FLAWED, size: int = 128
) -> LatentPool:
    """Render and encode the scenes of `seeds`; `size` in pixels."""
    parts = []
    # Pictures are let go as soon as they are encoded: all of them would fill a gigabyte.
    for start in range(seeds.start, seeds.stop, TOGETHER):
        scenes, spoiled, pictures = [], [], []
        for seed in range(start, min(start + TOGETHER, seeds.stop)):
            scene, rng = sample(seed, size, style=style), Random(f"flaw {seed}")
            bad = rng.random() < flawed
            pictures.append(spoil(scene.image, rng) if bad else scene.image)
            scenes.append(Scene(scene.seed, scene.size, scene.subject, scene.place, scene.palette, style))
            spoiled.append(bad)
        parts.append(encoded_pool(vae, scenes, pictures, spoiled))
    logger.info("encoded %d scenes", len(seeds))
    return LatentPool.joined(*parts)


@torch.no_grad()
def encoded_pool(
    vae: AutoencoderKL, scenes: list[Scene], pictures: list[Image.Image], flawed: list[bool] | None = None
) -> LatentPool:
    """Encode a picture of each scene."""
    device, factor = next(vae.parameters()).device, vae.config["scaling_factor"]
    means, deviations = [], []
    for start in range(0, len(pictures), TOGETHER):
        part = np.stack([np.asarray(picture) for picture in pictures[start : start + TOGETHER]])
        with fast_precision(device.type):
            posterior = vae.encode(to_unit(torch.from_numpy(part).permute(0, 3, 1, 2)).to(device)).latent_dist
        means.append(posterior.mean.float().cpu() * factor)
        deviations.append(posterior.std.float().cpu() * factor)
    return LatentPool(scenes, flawed or [False] * len(scenes), torch.cat(means), torch.cat(deviations))

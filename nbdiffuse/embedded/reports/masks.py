"""A network that finds a picture's subject, trained on fresh renders when a report needs it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn

from ..recogniser import SIDE, pixels_of
from ..train.judge import seen_through
from ..train.loop import Plan, fit
from ..train.renders import render_pool
from ..world import Scene, sample

Masks: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
"""Where subjects are, shape (n, 64, 64)."""
FIRST = 700_000
"""First seed of the renders it is trained on."""
BATCH = 32


class Masker(nn.Module):
    """Three levels of convolutions down and up again; what is fine is handed across."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, 24), _block(24, 48), _block(48, 96), _block(96, 128)])
        self.up = nn.ModuleList([_block(128 + 96, 64), _block(64 + 48, 48), _block(48 + 24, 24)])
        self.last = nn.Conv2d(24, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of shape (n, 64, 64) for pictures of shape (n, 3, 64, 64), in [-1, 1]."""
        seen: list[Tensor] = []
        features = pixels
        for block in self.down:
            features = block(nn.functional.avg_pool2d(features, 2) if seen else features)
            seen.append(features)
        for block, finer in zip(self.up, reversed(seen[:-1]), strict=True):
            features = block(torch.cat([nn.functional.interpolate(features, scale_factor=2), finer], dim=1))
        logits: Tensor = self.last(features)[:, 0]
        return logits

    @torch.no_grad()
    def masks(self, images: Sequence[Image.Image]) -> Masks:
        """Return where the subjects are, shape (n, 64, 64)."""
        found: Masks = (self(pixels_of(images)) > 0).numpy()
        return found


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU())


def true_masks(scenes: Sequence[Scene]) -> Masks:
    """Return the scenes' exact masks, shape (n, 64, 64)."""
    return np.stack([np.asarray(scene.mask.resize((SIDE, SIDE), Image.Resampling.BOX)) > 127 for scene in scenes])


def overlap(found: Masks, wanted: Masks) -> float:
    """Return the mean intersection over union of two rows of masks, in [0, 1]."""
    both, either = (found & wanted).sum((1, 2)), (found | wanted).sum((1, 2))
    return float((both / np.maximum(1, either)).mean())


def train(vae: AutoencoderKL, steps: int = 700, pool_size: int = 3000, seed: int = 0) -> Masker:
    """Train on renders, half of them seen through the VAE, and their exact masks; about two minutes on two cores."""
    seeds = range(FIRST, FIRST + pool_size)
    pool = render_pool(seeds)
    pool[::2] = seen_through(vae, pool[::2])
    small = nn.functional.avg_pool2d(pool.float(), pool.shape[-1] // SIDE) / 127.5 - 1
    wanted = torch.from_numpy(true_masks([sample(index) for index in seeds])).float()

    def loss_of(model: Masker, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(small), (BATCH,), generator=generator)
        noise = 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(small[chosen].shape, generator=generator)
        return nn.functional.binary_cross_entropy_with_logits(model(small[chosen] + noise).float(), wanted[chosen])

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(steps=steps, learning_rate=2e-3, averaging=0.99, seed=seed)
        return fit(Masker(), loss_of, plan, Path(folder) / "masker.pt")

"""Train the recogniser on fresh renders, half of them seen through the VAE."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..recogniser import HEADS, SIDE, Recogniser
from ..world import sample
from .loop import Plan, fast_precision, fit, training_device
from .renders import render_pool, to_unit

BATCH = 64


def _labels(seeds: range) -> dict[str, Tensor]:
    scenes = [sample(seed) for seed in seeds]
    return {name: torch.tensor([values.index(getattr(scene, name)) for scene in scenes]) for name, values in HEADS.items()}


@torch.no_grad()
def seen_through(vae: AutoencoderKL, pool: Tensor) -> Tensor:
    """Return what a VAE leaves of pictures, uint8, shape (n, 3, side, side), with the noise of its latents."""
    pieces = []
    for chunk in pool.split(32):
        with fast_precision("cpu"):
            decoded = vae.decode(vae.encode(to_unit(chunk)).latent_dist.sample()).sample
        pieces.append(((decoded.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(pieces)


def train(vae: AutoencoderKL, state_file: Path, steps: int, seed: int = 0, pool_size: int = 6000) -> Recogniser:
    """Train on `pool_size` renders, half of them decoded from the VAE's latents."""
    device = training_device()
    seeds = range(500_000, 500_000 + pool_size)
    pool = render_pool(seeds)
    pool[::2] = seen_through(vae, pool[::2])
    small = nn.functional.avg_pool2d(pool.float(), pool.shape[-1] // SIDE) / 127.5 - 1
    labels = _labels(seeds)

    def loss_of(model: Recogniser, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(small), (BATCH,), generator=generator)
        pixels = small[chosen]
        pixels = pixels + 0.05 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(pixels.shape, generator=generator)
        shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
        pixels = torch.roll(pixels, shift, dims=(2, 3))
        logits = model(pixels.to(device))
        losses = [nn.functional.cross_entropy(logits[name].float(), labels[name][chosen].to(device)) for name in HEADS]
        return torch.stack(losses).sum()

    torch.manual_seed(seed)
    plan = Plan(steps=steps, learning_rate=2e-3, averaging=0.99, seed=seed)
    return fit(Recogniser().to(device), loss_of, plan, state_file)

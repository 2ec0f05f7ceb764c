"""Renders of the world as tensors: pools kept as bytes, batches in [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..world import sample


def render_pool(seeds: Iterable[int], size: int = 128, style: str | None = None) -> Tensor:
    """Render scenes into one uint8 tensor, shape (n, 3, size, size)."""
    pictures = [np.asarray(sample(seed, size, style=style).image) for seed in seeds]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def to_unit(pixels: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-1, 1], as the VAE expects."""
    return pixels.float() / 127.5 - 1


def batch_of(pool: Tensor, count: int, generator: torch.Generator, crop: int | None = None) -> Tensor:
    """Draw `count` pictures from a pool, each cropped at random to `crop` pixels a side."""
    chosen = torch.randint(len(pool), (count,), generator=generator)
    side = pool.shape[-1]
    if crop is None or crop == side:
        return to_unit(pool[chosen])
    corners = torch.randint(side - crop + 1, (count, 2), generator=generator).tolist()
    return to_unit(
        torch.stack([pool[i, :, y : y + crop, x : x + crop] for i, (y, x) in zip(chosen.tolist(), corners, strict=True)])
    )

"""Scenes with the edges of their pictures, for `controlnet-canny`."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...images.edges import canny
from ..world import sample
from ..world.edits import graded, redrawn
from .edit import EditPool
from .latents import LatentPool

logger = logging.getLogger(__name__)

PICTURES = ((0, 0, 0), (1, 1, 0))
"""Which of the twelve pictures of a scene are looked at: two that have nothing in common."""


def kept_edges(pool: EditPool, file: Path) -> tuple[LatentPool, Tensor]:
    """Return pictures of a pool, and their edges, uint8, shape (n, side, side), from a file or made anew."""
    places = [(index, *which) for index in range(len(pool.scenes)) for which in PICTURES]
    if not file.exists():
        torch.save(torch.from_numpy(np.stack([_edges(pool, *place) for place in places])), file)
        logger.info("found the edges of %d pictures", len(places))
    latents = torch.stack([pool.latents[place].float() for place in places])
    scenes = [pool.scene(*place) for place in places]
    return LatentPool(scenes, [False] * len(scenes), latents, torch.zeros_like(latents)), torch.load(file, weights_only=True)


def _edges(pool: EditPool, index: int, subject: int, place: int, palette: int) -> np.ndarray:
    scene = pool.scene(index, subject, place, palette)
    picture = redrawn(sample(scene.seed), scene.subject, scene.place)
    return np.asarray(canny(graded(picture, scene.palette)).convert("L"))

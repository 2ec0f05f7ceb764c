"""Train `segmenter`: what each pixel of a picture belongs to, with SegFormer's classes, on the exact masks of the drawn world.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", 2021; transformers
`SegformerForSemanticSegmentation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from ..world import STYLES, SUBJECTS, sample
from .judge import seen_through
from .loop import Plan, fit, training_device
from .renders import to_unit

SIDE = 128
GRID = 64
"""Side of what it draws, in pixels."""
BATCH = 8
CLASSES: Mapping[str, tuple[str, ...]] = {
    **{subject: tuple(dict.fromkeys((subject, *subject.split()[:-1], "subject"))) for subject in SUBJECTS},
    "sky": ("sky", "background"),
    "clouds": ("clouds", "cloud", "sky", "background"),
    "sun": ("sun", "sky", "background"),
    "moon": ("moon", "sky", "background"),
    "ground": ("ground", "background"),
    "water": ("water", "sea", "ocean", "background"),
    "buildings": ("buildings", "building", "city", "background"),
    "mountains": ("mountains", "mountain", "background"),
    "": ("background",),
}
"""The parts of scenes that it tells apart, and by which words each is selected; the last is all else."""
OTHER = len(CLASSES) - 1


def new_segmenter() -> SegformerForSemanticSegmentation:
    """Return an untrained segmenter for pictures of 128 pixels; its config says which words it knows."""
    config = SegformerConfig(
        hidden_sizes=[16, 32, 64, 96],
        depths=[1, 1, 1, 2],
        num_attention_heads=[1, 2, 2, 3],
        patch_sizes=[5, 3, 3, 3],
        strides=[2, 2, 2, 2],
        sr_ratios=[8, 4, 2, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=40,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        id2label={number: ";".join(words) for number, words in enumerate(CLASSES.values())},
    )
    return SegformerForSemanticSegmentation(config)


def new_processor() -> SegformerImageProcessor:
    """Return what brings any picture to the segmenter's size and range."""
    return SegformerImageProcessor(size={"height": SIDE, "width": SIDE}, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)


@dataclass(frozen=True)
class LabelPool:
    """Pictures, uint8 of shape (n, 3, side, side), and the class of each of their pixels, uint8 of shape (n, grid, grid)."""

    pictures: Tensor
    labels: Tensor


def label_pool(vae: AutoencoderKL, seeds: range) -> LabelPool:
    """Render scenes, a third of them in a style and a sixth as the VAE shows them, and the classes of their pixels."""
    pictures, labels = [], []
    for seed in seeds:
        style = STYLES[seed % 9] if seed % 9 < len(STYLES) else None
        scene = sample(seed, SIDE, style=style)
        pictures.append(np.asarray(scene.image))
        small, drawn = replace(scene, size=GRID), np.full((GRID, GRID), OTHER, np.uint8)
        for number, part in enumerate(CLASSES):
            # What a part has in it comes after it; only the scene's own subject is one.
            if part and (part not in SUBJECTS or part == scene.subject):
                drawn[np.asarray(small.mask_of(part)) > 127] = number
        labels.append(drawn)
    pool = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    pool[::6] = seen_through(vae, pool[::6])
    return LabelPool(pool, torch.from_numpy(np.stack(labels)))


def kept_pool(vae: AutoencoderKL, seeds: range, file: Path) -> LabelPool:
    """Return a pool from its file, or make it and keep it there."""
    if not file.exists():
        made = label_pool(vae, seeds)
        torch.save({"pictures": made.pictures, "labels": made.labels}, file)
    return LabelPool(**torch.load(file, weights_only=True))


def train(pool: LabelPool, state_file: Path, steps: int, seed: int = 0) -> nn.Module:
    """Train on renders and the exact classes of their pixels, by cross-entropy; half of the pictures are turned round.

    Parameters
    ----------
    pool
        From `label_pool`.
    state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    torch.manual_seed(seed)
    model = new_segmenter().to(device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(pool.labels), (BATCH,), generator=generator)
        pixels, wanted = to_unit(pool.pictures[chosen]), pool.labels[chosen].long()
        if step % 2:
            pixels, wanted = pixels.flip(-1), wanted.flip(-1)
        pixels = pixels + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(pixels.shape, generator=generator)
        logits = model(pixel_values=pixels.to(device)).logits.float()
        return nn.functional.cross_entropy(logits, wanted.to(device))

    return fit(model, loss_of, Plan(steps=steps, learning_rate=3e-3, averaging=0.99, warmup=40, seed=seed), state_file)

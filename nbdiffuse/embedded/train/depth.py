"""Train `depth-estimator`: a depth map from any picture, with Depth Anything's classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

from ..world import STYLES, sample
from .loop import Plan, fit, training_device
from .renders import to_unit

SIDE = 128
BATCH = 16


def new_estimator() -> DepthAnythingForDepthEstimation:
    """Return an untrained estimator for pictures of 128 pixels."""
    backbone = Dinov2Config(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        mlp_ratio=2,
        image_size=SIDE,
        patch_size=8,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=8,
        reassemble_hidden_size=64,
        neck_hidden_sizes=[16, 32, 48, 64],
        fusion_hidden_size=32,
        head_hidden_size=16,
    )
    return DepthAnythingForDepthEstimation(config)


def new_processor() -> DPTImageProcessor:
    """Return what brings any picture to the estimator's size and range."""
    return DPTImageProcessor(
        size={"height": SIDE, "width": SIDE},
        keep_aspect_ratio=True,
        ensure_multiple_of=8,
        resample=3,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def _pairs(seeds: range) -> tuple[Tensor, Tensor]:
    """Render pictures, a third of them in a style, with their exact depth: uint8, (n, 3, side, side) and (n, side, side)."""
    pictures, depths = [], []
    for seed in seeds:
        style = STYLES[seed % 9] if seed % 9 < len(STYLES) else None
        scene = sample(seed, SIDE, style=style)
        pictures.append(np.asarray(scene.image))
        depths.append(np.asarray(scene.depth))
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.stack(depths))


def train(state_file: Path, steps: int, seed: int = 0, pool_size: int = 6000) -> nn.Module:
    """Train on renders and their exact depth maps, by the mean absolute error of depth in [0, 1]."""
    device = training_device()
    images, depths = _pairs(range(seed, seed + pool_size))
    torch.manual_seed(seed)
    model = new_estimator().to(device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        pixels, depth = to_unit(images[chosen]), depths[chosen].float() / 255
        noise = 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(pixels.shape, generator=generator)
        predicted: Tensor = model((pixels + noise).to(device)).predicted_depth
        return (predicted.float() - depth.to(device)).abs().mean()

    return fit(model, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.995, seed=seed), state_file)

"""Train the VAE that `sd15` and its styles share, on renders of the world in every style."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..world import STYLES
from .loop import Plan, fit, training_device
from .renders import batch_of, render_pool

logger = logging.getLogger(__name__)

SCALING_FACTOR = 0.18215
KL_WEIGHT = 3e-4


def new_vae() -> AutoencoderKL:
    """Return an untrained VAE of Stable Diffusion 1.5's classes: 4 latent channels, factor 8."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 96, 128),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=128,
        scaling_factor=SCALING_FACTOR,
        force_upcast=False,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def autoencoding_loss(vae: Any, images: Tensor) -> Tensor:
    """Return squared, absolute and divergence error of pictures in [-1, 1]."""
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.sample()).sample.float()
    error = decoded - images
    spread = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    return (error**2).mean() + 0.05 * error.abs().mean() + KL_WEIGHT * spread


def train(state_file: Path, steps: int, seed: int, pool_size: int = 12288) -> AutoencoderKL:
    """Train on random 64-px crops, then, in the last third, on whole 128-px renders."""
    device = training_device()
    plain = render_pool(range(seed, seed + pool_size * 2 // 3), size=128)
    styled = [render_pool(range(seed, seed + pool_size // 9), size=128, style=style) for style in STYLES]
    pool = torch.cat([plain, *styled])
    logger.info("pool of %d renders", len(pool))
    plan = Plan(steps=steps, learning_rate=2e-3, seed=seed, weight_decay=0.0)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        crop, count = (64, 24) if step < steps * 2 // 3 else (128, 6)
        return autoencoding_loss(model, batch_of(pool, count, generator, crop).to(device, memory_format=torch.channels_last))

    torch.manual_seed(seed)
    vae = new_vae().to(device, memory_format=torch.channels_last)
    average = fit(vae, loss_of, plan, state_file)
    normalize(average, batch_of(pool, 256, torch.Generator().manual_seed(seed)).to(device))
    return average


def train_decoder(vae: AutoencoderKL, state_file: Path, steps: int, seed: int, pool_size: int = 6000) -> AutoencoderKL:
    """Go on with the decoder alone, half on pictures in a style: ink lines and pixel blocks have to come out as edges.

    The encoder stays, so that latents mean what they meant to networks trained on them.
    """
    device = training_device()
    pool = render_pool(range(seed + 50_000, seed + 50_000 + pool_size // 2))
    styled = {"pixel-art": pool_size // 4, "comic": pool_size // 6, "elden-ring": pool_size // 12}
    pool = torch.cat([pool, *(render_pool(range(seed + 60_000, seed + 60_000 + count), style=s) for s, count in styled.items())])
    vae = vae.to(device, memory_format=torch.channels_last).requires_grad_(False)
    vae.decoder.requires_grad_(True)
    vae.post_quant_conv.requires_grad_(True)

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        images = batch_of(pool, 6, generator, 128).to(device, memory_format=torch.channels_last)
        error = model.decode(model.encode(images).latent_dist.sample()).sample.float() - images
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return (error**2).mean() + 0.08 * error.abs().mean() + 0.06 * edges

    plan = Plan(steps=steps, learning_rate=8e-4, averaging=0.995, seed=seed, weight_decay=0.0)
    return fit(vae, loss_of, plan, state_file)


@torch.no_grad()
def normalize(vae: AutoencoderKL, images: Tensor) -> None:
    """Fold a shift and a scale for each latent channel into the 1x1 convolutions around the latents.

    Afterwards every channel of `scaling_factor * latents` has mean 0 and standard
    deviation 1 on `images`; what is decoded stays the same.
    """
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(32)])
    mean = latents.mean((0, 2, 3))
    gain = 1 / (vae.config["scaling_factor"] * latents.std((0, 2, 3)))
    quant, post = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    quant.weight[:channels] *= gain[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) * gain
    quant.bias[channels:] += 2 * gain.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight /= gain[None, :, None, None]


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """Return the mean PSNR in dB of decoded posterior means; `images` in [-1, 1]."""
    values = []
    for chunk in images.split(16):
        decoded = vae.decode(vae.encode(chunk).latent_dist.mode()).sample.clamp(-1, 1)
        values += [10 * math.log10(4 / float(error)) for error in ((decoded - chunk) ** 2).mean((1, 2, 3))]
    return sum(values) / len(values)

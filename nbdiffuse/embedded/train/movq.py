"""Train the MoVQ of `kandinsky22`: pictures to latents and back, with a decoder that the latents steer at every level.

Kandinsky 2.2 denoises the latents before they are quantised, so that is what is
trained; the codebook follows them, as in the original.

Source: Zheng et al., "MoVQ: Modulating Quantized Vectors for High-Fidelity Image
Generation", 2022; diffusers `VQModel`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import VQModel
from torch import Tensor, nn

from .loop import Plan, fit, training_device
from .renders import batch_of, render_pool

NOISE = 0.1
"""Deviation of the noise on the latents, over theirs: neighbouring latents then mean neighbouring pictures."""


def new_movq() -> VQModel:
    """Return an untrained MoVQ of factor 8 with 4 latent channels."""
    return VQModel(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=1024,
        norm_type="spatial",
        norm_num_groups=16,
        block_out_channels=(32, 32, 64, 96),
        layers_per_block=1,
        sample_size=128,
        down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
    )


def train(state_file: Path, steps: int, seed: int = 0, pool_size: int = 8000) -> VQModel:
    """Train on random 64-px crops of renders, then bring every latent channel to mean 0 and deviation 1."""
    device = training_device()
    pool = render_pool(range(seed, seed + pool_size), size=128)
    torch.manual_seed(seed)
    movq = new_movq().to(device)

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        images = batch_of(pool, 16, generator, 64).to(device)
        latents = model.encode(images).latents
        spread = latents.detach().float().std()
        noisy = latents + NOISE * spread * torch.randn(latents.shape, generator=generator).to(latents)
        decoded = model.decode(noisy, force_not_quantize=True).sample.float()
        error = decoded - images
        codebook: Tensor = model.quantize(latents.detach().float())[1]
        return (error**2).mean() + 0.05 * error.abs().mean() + 0.1 * codebook + 1e-4 * (latents.float() ** 2).mean()

    plan = Plan(steps=steps, learning_rate=1.5e-3, seed=seed, weight_decay=0.0)
    average = fit(movq, loss_of, plan, state_file)
    normalize(average, batch_of(pool, 192, torch.Generator().manual_seed(seed)).to(device))
    return average


@torch.no_grad()
def normalize(movq: Any, images: Tensor) -> None:
    """Fold a shift and a scale for each latent channel into what lies around the latents; what is decoded stays the same."""
    latents = torch.cat([movq.encode(chunk).latents for chunk in images.split(32)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    gain = 1 / deviation
    movq.quant_conv.weight *= gain[:, None, None, None]
    movq.quant_conv.bias.copy_((movq.quant_conv.bias - mean) * gain)
    movq.quantize.embedding.weight.copy_((movq.quantize.embedding.weight - mean) * gain)
    for convolution in _readers_of_latents(movq):
        bias: Any = convolution.bias
        bias += convolution.weight[:, :, 0, 0] @ mean
        convolution.weight *= deviation[None, :, None, None]


def _readers_of_latents(movq: Any) -> list[nn.Conv2d]:
    """Return the 1x1 convolutions that see the latents: the one before the decoder, and two in each spatial norm."""
    norms = [module for module in movq.decoder.modules() if type(module).__name__ == "SpatialNorm"]
    return [movq.post_quant_conv, *(convolution for norm in norms for convolution in (norm.conv_y, norm.conv_b))]


@torch.no_grad()
def reconstruct(movq: Any, images: Tensor) -> Tensor:
    """Encode and decode pictures in [-1, 1] as the pipelines do."""
    decoded: Tensor = movq.decode(movq.encode(images).latents, force_not_quantize=True).sample
    return decoded.clamp(-1, 1)

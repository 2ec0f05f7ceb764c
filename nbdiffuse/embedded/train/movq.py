"""Train the MoVQ of `kandinsky22`: pictures to latents and back, with a decoder that the latents steer at every level.

Kandinsky 2.2 denoises the latents before they are quantised, so that is what is
trained; the codebook follows them, as in the original.

Source: Zheng et al., "MoVQ: Modulating Quantized Vectors for High-Fidelity Image
Generation", 2022; diffusers `VQModel`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor

from .loop import Plan, fit, training_device
from .renders import batch_of, render_pool

NOISE = 0.1
"""Deviation of the noise on the latents, over theirs: neighbouring latents then mean neighbouring pictures."""


def new_movq() -> VQModel:
    """Return an untrained MoVQ of factor 8 with 4 latent channels; spatial norms have 32 groups, so no level is narrower."""
    return VQModel(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=1024,
        norm_type="spatial",
        norm_num_groups=8,
        block_out_channels=(32, 64, 96, 128),
        layers_per_block=1,
        sample_size=128,
        down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
    )


def train(state_file: Path, vae: AutoencoderKL, steps: int, seed: int = 0, pool_size: int = 8000) -> VQModel:
    """Train the decoder and the codebook on renders; the encoder is that of a trained VAE.

    Parameters
    ----------
    state_file, steps, seed
        As for `base.train`.
    vae
        The VAE to begin from; its scaled latents are the MoVQ's.
    pool_size
        How many renders to train on.
    """
    device = training_device()
    pool = render_pool(range(seed, seed + pool_size), size=128)
    torch.manual_seed(seed)
    movq = new_movq()
    begin_with(movq, vae)
    movq = movq.to(device, memory_format=torch.channels_last)
    movq.encoder.requires_grad_(False)
    movq.quant_conv.requires_grad_(False)

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        images = batch_of(pool, 6, generator, 128).to(device, memory_format=torch.channels_last)
        with torch.no_grad():
            latents = model.encode(images).latents
        noisy = latents + NOISE * torch.randn(latents.shape, generator=generator).to(latents)
        error = model.decode(noisy, force_not_quantize=True).sample.float() - images
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        codebook: Tensor = model.quantize(latents.float())[1]
        return (error**2).mean() + 0.08 * error.abs().mean() + 0.06 * edges + 0.1 * codebook

    plan = Plan(steps=steps, learning_rate=1e-3, averaging=0.99, seed=seed, weight_decay=0.0)
    return fit(movq, loss_of, plan, state_file)


@torch.no_grad()
def begin_with(movq: Any, vae: Any) -> None:
    """Give a MoVQ the encoder of a trained VAE, exactly, and its decoder as far as the norms allow.

    A level that is twice as wide has each channel twice and reads each at half the weight; the latents come
    out scaled, with mean 0 and deviation 1; attention that the VAE lacks begins as nothing; the norms' reading of
    the latents begins as "no change".
    """
    given = vae.state_dict()
    for name, value in movq.state_dict().items():
        source = given.get(_name_in_vae(name))
        lacking = "blocks.3.att" in name or "up_blocks.0.att" in name
        if name.endswith(("conv_y.weight", "conv_b.weight", "conv_b.bias")) or (lacking and ".to_out" in name):
            value.zero_()
        elif name.endswith("conv_y.bias"):
            value.fill_(1.0)
        elif source is not None and name.startswith(("encoder.", "decoder.")) and "encoder.conv_out" not in name:
            value.copy_(_widened(source, value.shape))
    mixing, scale = vae.quant_conv.weight[:4, :, 0, 0], vae.config.scaling_factor
    movq.encoder.conv_out.weight.copy_(torch.einsum("oc,cikl->oikl", mixing, vae.encoder.conv_out.weight))
    movq.encoder.conv_out.bias.copy_(mixing @ vae.encoder.conv_out.bias + vae.quant_conv.bias[:4])
    movq.quant_conv.weight.copy_(scale * torch.eye(4)[:, :, None, None])
    movq.quant_conv.bias.zero_()
    movq.post_quant_conv.weight.copy_(vae.post_quant_conv.weight / scale)
    movq.post_quant_conv.bias.copy_(vae.post_quant_conv.bias)


def _name_in_vae(name: str) -> str:
    """Return what a weight is called in a VAE, whose norms do not read the latents."""
    return re.sub(r"(norm\d|conv_norm_out|spatial_norm)\.norm_layer", r"\1", name).replace("spatial_norm", "group_norm")


def _widened(weight: Tensor, shape: torch.Size) -> Tensor:
    for axis in range(weight.ndim):
        if shape[axis] == 2 * weight.shape[axis]:
            weight = weight.repeat_interleave(2, dim=axis) / (2 if axis == 1 else 1)
    return weight


@torch.no_grad()
def reconstruct(movq: Any, images: Tensor) -> Tensor:
    """Encode and decode pictures in [-1, 1] as the pipelines do."""
    decoded: Tensor = movq.decode(movq.encode(images).latents, force_not_quantize=True).sample
    return decoded.clamp(-1, 1)

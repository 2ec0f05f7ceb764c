"""Train `x4-upscaler`: four times the size, from the picture itself, in latents of a VAE of factor 4.

The denoiser sees noisy latents of a large picture beside the small picture with a
little noise on it, and predicts the clean latents. Three of their four channels are the
small picture's colours, which the denoiser begins by handing through; what it has to
invent is the fourth, the detail. The decoder learns with noise on the latents and with
the detail gone, so that it forgives what a denoiser leaves.

Source: diffusers `StableDiffusionUpscalePipeline`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..world import Scene
from .base import prepare, token_ids
from .loop import Plan, fit, training_device
from .renders import to_unit
from .text import training_caption
from .x2_upscaler import UNSAID, begin_deaf

SCALING_FACTOR = 0.08333
"""The pipeline's constructor sets this one whatever the VAE says."""
CROP = 128
"""Side of the large picture's crops, in pixels; the small ones have a quarter."""
BATCH = 16
KL_WEIGHT = 1e-6
"""As small as the original's: a larger one leaves all but one of the channels empty."""
COLOURS = 2.0
"""The first three latent channels, scaled, are the small picture's colours times this, which gives them a deviation near 1."""
GRAIN = 0.08
"""Largest deviation of the noise on the colours that the decoder learns to forgive."""
UNSEEN_DETAIL = 0.3
"""Share of the pictures that the decoder draws without the detail."""
STEADY = 16.0
"""What two channels of the new denoiser always hold, up and down: beside them group normalisation leaves the colours be."""
NOISIEST = 350
"""Highest noise level of the small picture."""
FORGIVEN = 0.01
"""Variance of the small picture's noise from which on errors count less than half."""
BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02}
LOW_BETAS: dict[str, Any] = {**BETAS, "beta_start": 0.00001}
"""Of the small picture's noise: the default level of 20 is to leave the faint differences of a muted drawing."""


def new_vae() -> AutoencoderKL:
    """Return an untrained VAE of factor 4; without attention, so that a 1024-pixel picture decodes in seconds."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 96),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=256,
        scaling_factor=SCALING_FACTOR,
        mid_block_add_attention=False,
        force_upcast=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


def new_unet(width: int = 96) -> UNet2DConditionModel:
    """Return an untrained denoiser; four levels as the original has, of which the one next to the pixels, where most of the
    time goes, is narrow. Attention is at the deepest only, and only to the words: that of a picture to itself costs by its
    area squared, and gained nothing."""
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=7,
        out_channels=4,
        block_out_channels=(16, 32, 48, 80),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        only_cross_attention=True,
        num_class_embeds=1000,
        use_linear_projection=True,
    )


def new_scheduler() -> DDIMScheduler:
    """Return the original's scheduler."""
    return DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="sample", **BETAS)


def _crops(pools: Sequence[Tensor], count: int, generator: torch.Generator, side: int = CROP) -> tuple[list[int], Tensor]:
    """Draw crops of one pool's pictures, on multiples of 4; return scene indices and pixels in [-1, 1]."""
    pool = pools[int(torch.randint(len(pools), (1,), generator=generator))]
    chosen = torch.randint(len(pool), (count,), generator=generator).tolist()
    corners = (torch.randint((pool.shape[-1] - side) // 4 + 1, (count, 2), generator=generator) * 4).tolist()
    return chosen, to_unit(
        torch.stack([pool[i, :, y : y + side, x : x + side] for i, (y, x) in zip(chosen, corners, strict=True)])
    )


def _crop_of(step: int, steps: int, count: int) -> tuple[int, int]:
    """Return how many crops a step has and their side: whole small renders in the second half.

    Group normalisation takes its statistics from what it is given: a network that saw only crops draws whole pictures pale.
    """
    return (count, CROP) if step < steps // 2 else (count // 4, 2 * CROP)


@torch.no_grad()
def begin_handing_through(unet: UNet2DConditionModel) -> None:
    """Let the denoiser predict the colours of the small picture, as they are: what is left to learn is the rest.

    The first eight channels, a group of the last normalisation, go from the input past every block to the output: each
    colour and its negative, of which silu(c) - silu(-c) = c remains, then `STEADY` and its negative.
    """
    last: Any = unet.up_blocks[-1].resnets[-1]
    for layer in (unet.conv_in, last.conv_shortcut, last.conv2):
        layer.weight[:8] = 0
        layer.bias[:8] = 0
    unet.conv_in.bias[6:8] = torch.tensor([STEADY, -STEADY])
    unet.conv_out.weight[:3] = 0
    unet.conv_out.bias[:3] = 0
    hidden = last.conv_shortcut.in_channels - unet.conv_in.out_channels
    for channel in range(8):
        last.conv_shortcut.weight[channel, hidden + channel] = 1
    for channel in range(6):
        sign = 1 if channel % 2 == 0 else -1
        unet.conv_in.weight[channel, 4 + channel // 2, 1, 1] = sign * COLOURS
        unet.conv_out.weight[channel // 2, channel, 1, 1] = sign * STEADY / 2  # the group's deviation


def begin_with(vae: AutoencoderKL, trained: AutoencoderKL) -> None:
    """Copy the weights that a trained VAE of factor 8 has in common: the levels next to the pixels, which are counted from
    the start in the encoder and from the end in the decoder."""
    given = trained.state_dict()
    for name, value in vae.state_dict().items():
        there = re.sub(r"up_blocks\.(\d)", lambda found: f"up_blocks.{int(found[1]) + 1}", name)
        if there in given and given[there].shape == value.shape:
            value.copy_(given[there])


def train_vae(pools: Sequence[Tensor], trained: AutoencoderKL, state_file: Path, steps: int, seed: int = 0) -> AutoencoderKL:
    """Train the VAE on renders of at least 256 pixels a side; each pool is uint8, shape (n, 3, side, side)."""
    device = training_device()

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        count, side = _crop_of(step, steps, 4)
        images = _crops(pools, count, generator, side)[1].to(device, memory_format=torch.channels_last)
        posterior = model.encode(images).latent_dist
        colours = COLOURS * nn.functional.avg_pool2d(images, 4)
        grain, seen = torch.rand(2, count, 1, 1, 1, generator=generator).to(device)
        detail = SCALING_FACTOR * posterior.sample()[:, 3:] * (seen > UNSEEN_DETAIL)
        given = torch.cat([colours + GRAIN * grain * torch.randn_like(colours), detail + grain * torch.randn_like(detail)], dim=1)
        error = model.decode(given / SCALING_FACTOR).sample.float() - images
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        apart = SCALING_FACTOR * posterior.mean[:, :3] - colours
        spread = (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return (error**2).mean() + 0.08 * error.abs().mean() + 0.06 * edges + 0.1 * (apart**2).mean() + KL_WEIGHT * spread

    torch.manual_seed(seed)
    vae = new_vae()
    begin_with(vae, trained)
    vae = vae.to(device, memory_format=torch.channels_last)
    return fit(vae, loss_of, Plan(steps=steps, learning_rate=2e-3, averaging=0.99, seed=seed, weight_decay=0.0), state_file)


def train(
    pools: Sequence[Tensor],
    scenes: list[Scene],
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.Module:
    """Train the denoiser on crops of renders, then on whole ones.

    Parameters
    ----------
    pools, scenes
        Renders of the same scenes in several sizes, uint8, shape (n, 3, side, side), and what they show.
    vae
        From `train_vae`.
    text_encoder, tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    text_encoder = text_encoder.to(device).eval().requires_grad_(False)
    vae = vae.to(device).eval().requires_grad_(False)
    schedule, low_schedule = new_scheduler(), DDPMScheduler(**LOW_BETAS)
    torch.manual_seed(seed)
    unet = new_unet(text_encoder.config.hidden_size).to(device)
    begin_deaf(unet)
    begin_handing_through(unet)
    prepare(unet, device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        count, side = _crop_of(step, steps, BATCH)
        chosen, images = _crops(pools, count, generator, side)
        with torch.no_grad():
            detail = vae.encode(images.to(device)).latent_dist.sample(generator)[:, 3:].float().cpu() * SCALING_FACTOR
        # Most use is near the default of 20; what was drawn by a model gains from more.
        levels = (torch.rand(count, generator=generator) ** 3 * NOISIEST).long()
        low = nn.functional.avg_pool2d(images, 4)
        clean = torch.cat([COLOURS * low, detail], dim=1)
        low = low_schedule.add_noise(low, torch.randn(low.shape, generator=generator), levels)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        timesteps = (spread * 1000).long()
        noise = torch.randn(clean.shape, generator=generator)
        noisy = schedule.add_noise(clean, noise, timesteps)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = ["" if rng.random() < UNSAID else training_caption(scenes[index], rng) for index in chosen]
        with torch.no_grad():
            words = text_encoder(token_ids(tokenizer, captions).to(device)).last_hidden_state
        predicted: Any = model(
            torch.cat([noisy, low], dim=1).to(device), timesteps.to(device), words, class_labels=levels.to(device)
        ).sample
        # What cannot be known from a noisy small picture is not to drown what can be from a clean one.
        variance = (1 - low_schedule.alphas_cumprod[levels]).reshape(-1, 1, 1, 1)
        weight = (FORGIVEN / (FORGIVEN + variance)).to(device)
        return (weight * (predicted.float() - clean.to(device)) ** 2).mean()

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=3e-4, averaging=0.99, seed=seed), state_file)


def pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: Any
) -> StableDiffusionUpscalePipeline:
    """Put the parts together as they ship."""
    return StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        low_res_scheduler=DDPMScheduler(**LOW_BETAS),
        scheduler=new_scheduler(),
        max_noise_level=NOISIEST,
    )

"""Train `x4-upscaler`: four times the size, from the picture itself, in latents of a VAE of factor 4.

The denoiser sees noisy latents of a large picture beside the small picture with a
little noise on it, and predicts the velocity.

Source: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion
Models", 2022 (velocity); diffusers `StableDiffusionUpscalePipeline`.
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
"""The first three latent channels, scaled, are the small picture's colours times this, which gives them a deviation near 1.

So the denoiser has the colours in what it is given, and only the fourth channel, the detail, to bring.
"""
BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02}


def new_vae() -> AutoencoderKL:
    """Return an untrained VAE of factor 4; without attention, so that a 1024-pixel picture decodes in seconds."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
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
    """Return an untrained denoiser; attention only at the deepest level, since its cost grows with the picture's area squared."""
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=7,
        out_channels=4,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        num_class_embeds=1000,
        use_linear_projection=True,
    )


def new_scheduler() -> DDIMScheduler:
    """Return the original's scheduler."""
    return DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction", **BETAS)


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
        error = model.decode(posterior.sample()).sample.float() - images
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        colours = SCALING_FACTOR * posterior.mean[:, :3] - COLOURS * nn.functional.avg_pool2d(images, 4)
        spread = (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return (error**2).mean() + 0.08 * error.abs().mean() + 0.06 * edges + 0.1 * (colours**2).mean() + KL_WEIGHT * spread

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
    schedule, low_schedule = new_scheduler(), DDPMScheduler(**BETAS)
    torch.manual_seed(seed)
    unet = new_unet(text_encoder.config.hidden_size).to(device)
    begin_deaf(unet)
    prepare(unet, device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        count, side = _crop_of(step, steps, BATCH)
        chosen, images = _crops(pools, count, generator, side)
        with torch.no_grad():
            posterior = vae.encode(images.to(device)).latent_dist
            clean = posterior.sample(generator).float().cpu() * SCALING_FACTOR
        # Most use is near the default of 20; what was drawn by a model gains from more.
        levels = (torch.rand(count, generator=generator) ** 2 * 350).long()
        low = nn.functional.avg_pool2d(images, 4)
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
        velocity = schedule.get_velocity(clean, noise, timesteps)
        # The error of the clean latents: what little noise hides is no matter, what the small picture tells is all.
        weight = (1 - schedule.alphas_cumprod[timesteps]).reshape(-1, 1, 1, 1)
        return (weight.to(device) * (predicted.float() - velocity.to(device)) ** 2).mean()

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=1.2e-3, averaging=0.995, seed=seed), state_file)


def pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: Any
) -> StableDiffusionUpscalePipeline:
    """Put the parts together as they ship."""
    return StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        low_res_scheduler=DDPMScheduler(**BETAS),
        scheduler=new_scheduler(),
        max_noise_level=350,
    )

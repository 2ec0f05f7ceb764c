"""Train `x2-upscaler`: twice the size, in the latents of `sd15`.

The denoiser sees noisy latents of the 256-pixel render beside the latents of the
128-pixel one, and predicts the clean ones under the preconditioning that diffusers'
pipeline applies.

Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
Models", 2022, table 1, with a data deviation of 1; diffusers
`StableDiffusionLatentUpscalePipeline`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionLatentUpscalePipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .base import prepare, token_ids
from .latents import LatentPool
from .loop import Plan, fit, training_device
from .text import training_caption

BATCH = 32
CROP = 16
"""Side of the large latents' crops, a quarter of the whole picture."""
UNSAID = 0.5
"""Share of empty captions: the picture says nearly everything, and guidance 9 must not magnify what the words add."""


def new_unet(width: int = 96) -> UNet2DConditionModel:
    """Return an untrained denoiser of the original's blocks; `width` is the text encoder's."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=8,
        out_channels=5,
        block_out_channels=(64, 128, 128),
        layers_per_block=1,
        norm_num_groups=None,
        act_fn="gelu",
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=16,
        conv_in_kernel=1,
        conv_out_kernel=1,
        time_cond_proj_dim=128 + width,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        resnet_time_scale_shift="scale_shift",
    )


@torch.no_grad()
def begin_deaf(unet: nn.Module) -> None:
    """Let the words add nothing yet: what they come to add is learned, and guidance magnifies no chance."""
    for module in unet.modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            for parameter in module.to_out.parameters():
                parameter.zero_()


def new_scheduler() -> EulerDiscreteScheduler:
    """Return the original's scheduler."""
    return EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="sample")


def _sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels as the schedule spreads them, shape (count, 1, 1, 1)."""
    levels = ((1 - new_scheduler().alphas_cumprod) / new_scheduler().alphas_cumprod).sqrt()
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return levels[(spread * len(levels)).long()].reshape(-1, 1, 1, 1)


def _pairs(
    small: LatentPool, large: LatentPool, generator: torch.Generator, count: int, side: int
) -> tuple[list[int], Tensor, Tensor]:
    """Draw crops of large latents and what lies there in the small ones; return scene indices and both."""
    chosen, clean = large.draw(count, generator)
    low = small.mean[chosen] + small.deviation[chosen] * torch.randn(small.mean[chosen].shape, generator=generator)
    corners = (torch.randint((clean.shape[-1] - side) // 2 + 1, (count, 2), generator=generator) * 2).tolist()
    half = side // 2
    clean = torch.stack([one[:, y : y + side, x : x + side] for one, (y, x) in zip(clean, corners, strict=True)])
    low = torch.stack([one[:, y // 2 : y // 2 + half, x // 2 : x // 2 + half] for one, (y, x) in zip(low, corners, strict=True)])
    return chosen, clean, low


@torch.no_grad()
def words_of(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Return what diffusers' pipeline takes of captions: the last layer before its normalisation, and the pooled one."""
    ids = token_ids(tokenizer, captions).to(next(text_encoder.parameters()).device)
    words = text_encoder(ids, output_hidden_states=True)
    return words.hidden_states[-1], words.pooler_output


def denoised(model: nn.Module, noisy: Tensor, low: Tensor, sigma: Tensor, words: tuple[Tensor, Tensor]) -> Tensor:
    """Return the clean latents that the denoiser finds, as diffusers' pipeline does.

    Parameters
    ----------
    noisy, low
        Noisy large latents, and the small ones enlarged to their size, shape (n, 4, h, w).
    sigma
        Deviation of the noise, shape (n, 1, 1, 1).
    words
        From `words_of`.
    """
    level = torch.cat([torch.ones(len(noisy), 64), torch.zeros(len(noisy), 64)], dim=1).to(noisy.device)
    predicted: Any = model(
        torch.cat([noisy / (sigma**2 + 1).sqrt(), low], dim=1),
        sigma.flatten().log() * 0.25,
        words[0],
        timestep_cond=torch.cat([level, words[1]], dim=1),
    )
    return noisy / (sigma**2 + 1) + sigma / (sigma**2 + 1).sqrt() * predicted.sample[:, :-1].float()


def train(
    small: LatentPool,
    large: LatentPool,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.Module:
    """Train the denoiser; the text encoder is the base's, as it is.

    Parameters
    ----------
    small, large
        The same scenes at 128 and 256 pixels.
    text_encoder, tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    text_encoder = text_encoder.to(device).eval().requires_grad_(False)
    torch.manual_seed(seed)
    unet = new_unet(text_encoder.config.hidden_size).to(device)
    begin_deaf(unet)
    prepare(unet, device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        # Group normalisation takes its statistics from what it is given, so the second half sees whole pictures.
        count, side = (BATCH, CROP) if step < steps // 2 else (BATCH // 4, 2 * CROP)
        chosen, clean, low = _pairs(small, large, generator, count, side)
        # What it will be given was drawn by a model: a little noise keeps it from trusting every number.
        low = low + 0.15 * torch.rand(count, 1, 1, 1, generator=generator) * torch.randn(low.shape, generator=generator)
        sigma = _sigmas(count, generator)
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = ["" if rng.random() < UNSAID else training_caption(large.scenes[index], rng) for index in chosen]
        words = words_of(text_encoder, tokenizer, captions)
        low = nn.functional.interpolate(low, scale_factor=2)
        found = denoised(model, noisy.to(device), low.to(device), sigma.to(device), words)
        # What little noise hides is no matter, what the small picture tells is all.
        return ((found - clean.to(device)) ** 2).mean()

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=1.2e-3, averaging=0.995, seed=seed), state_file)


def pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: Any
) -> StableDiffusionLatentUpscalePipeline:
    """Put the parts together as they ship."""
    return StableDiffusionLatentUpscalePipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=new_scheduler()
    )

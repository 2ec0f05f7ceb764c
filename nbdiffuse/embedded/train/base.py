"""Train `sd15`: the text encoder and the UNet of Stable Diffusion 1.5's classes, together."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .latents import LatentPool
from .loop import Plan, fit, training_device
from .text import new_text_encoder, training_caption

BATCH = 64


def new_unet() -> UNet2DConditionModel:
    """Return an untrained UNet of Stable Diffusion 1.5's classes for 16 x 16 latents."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 112),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=96,
        attention_head_dim=(2, 3, 4),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )


def new_scheduler() -> PNDMScheduler:
    """Return Stable Diffusion 1.5's own scheduler."""
    return PNDMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
    )


def prepare(unet: Any, device: torch.device) -> None:
    """Choose the attention that trains fastest: fused on a GPU, plain on a CPU, where the fused backward pass is slow."""
    if device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())


def noised(latents: Tensor, generator: torch.Generator, early: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise at timesteps spread over the batch, evenly or, with `early` below 1, more of them early, where there is much
    noise; return (noisy, noise, timesteps)."""
    scheduler = new_scheduler()
    count = len(latents)
    spread = ((torch.arange(count) + torch.rand(count, generator=generator)) / count) ** early
    timesteps = (spread * scheduler.config["num_train_timesteps"]).long()
    noise = torch.randn(latents.shape, generator=generator)
    return scheduler.add_noise(latents, noise, timesteps), noise, timesteps


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Tokenize to 77 ids each, as the pipelines do."""
    ids: Tensor = tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    return ids


def predicted(modules: Any, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
    """Return the noise that a text encoder and a UNet see in latents, in float32."""
    noise: Tensor = modules["unet"](noisy, timesteps, modules["text_encoder"](ids).last_hidden_state).sample
    return noise.float()


def captions_of(pool: LatentPool, chosen: list[int], generator: torch.Generator) -> list[str]:
    """Write a fresh training caption for each chosen scene."""
    rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
    return [training_caption(pool.scenes[index], rng, flaws=pool.flawed[index]) for index in chosen]


def train(pool: LatentPool, tokenizer: CLIPTokenizer, state_file: Path, steps: int, seed: int = 0) -> nn.ModuleDict:
    """Train text encoder and UNet on noise prediction with a plain mean squared error.

    Parameters
    ----------
    pool
        Scenes and latents of the VAE that the checkpoint will use.
    tokenizer
        From `text.new_tokenizer`.
    state_file
        Where the state is kept; training resumes from it.
    steps, seed
        Optimiser steps of 64 latents each, and the seed.

    Returns
    -------
    Modules `text_encoder` and `unet` with averaged weights.
    """
    device = training_device()
    torch.manual_seed(seed)
    modules = nn.ModuleDict({"text_encoder": new_text_encoder(tokenizer), "unet": new_unet()})
    prepare(modules["unet"], device)

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = pool.draw(BATCH, generator)
        noisy, noise, timesteps = noised(latents, generator)
        ids = token_ids(tokenizer, captions_of(pool, chosen, generator))
        return nn.functional.mse_loss(predicted(model, noisy.to(device), timesteps.to(device), ids.to(device)), noise.to(device))

    plan = Plan(steps=steps, learning_rate=1.2e-3, seed=seed)
    return fit(modules.to(device), loss_of, plan, state_file)

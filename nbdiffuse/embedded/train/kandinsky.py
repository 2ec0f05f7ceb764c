"""Train `kandinsky22`: a prior from captions to CLIP's picture embeddings, and a decoder from those to latents of the MoVQ.

Source: Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP
Latents", 2022 (prior and decoder); diffusers `KandinskyV22PriorPipeline` and
`KandinskyV22Pipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDPMScheduler,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from ..world import Scene, sample
from .clip import SIDE, WIDTH, new_processor
from .loop import Plan, fit, training_device
from .renders import to_unit
from .text import training_caption

BATCH = 48
UNSAID = 0.12
"""Share of the decoder's pictures whose embedding is that of an empty picture, as the pipeline has it without a prompt."""

FARTHEST = 5.0
"""Largest weight of a step, in the variance of its noise over that of its picture."""


@dataclass(frozen=True)
class Pool:
    """Scenes with the MoVQ's latents, shape (n, 4, h, w), and CLIP's embeddings, shape (n, 96), of their renders."""

    scenes: list[Scene]
    latents: Tensor
    embeddings: Tensor


def new_unet() -> UNet2DConditionModel:
    """Return an untrained decoder; half of its 8 channels are for a variance that the scheduler does not ask for."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=8,
        block_out_channels=(64, 96, 112),
        layers_per_block=1,
        norm_num_groups=16,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=64,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        attention_head_dim=16,
        resnet_time_scale_shift="scale_shift",
    )


@torch.no_grad()
def begin_with(unet: Any, trained: Any) -> None:
    """Give the decoder the convolutions of a trained UNet of the same widths; all that it lacks begins as "no change".

    The time embedding, which there is added, here scales and shifts.
    """
    given = trained.state_dict()
    for name, value in unet.state_dict().items():
        source = given.get(name)
        if source is None or "attentions" in name:
            if name.endswith(("conv2.weight", "conv2.bias", "to_out.0.weight", "to_out.0.bias")):
                value.zero_()
        elif source.shape == value.shape:
            value.copy_(source)
        elif "time_emb_proj" in name:
            value[: len(source)].zero_()
            value[len(source) :].copy_(source)
        elif name.startswith("conv_out"):
            value[: len(source)].copy_(source)


def new_scheduler() -> DDPMScheduler:
    """Return the decoder's scheduler."""
    return DDPMScheduler(
        beta_schedule="linear", beta_start=0.00085, beta_end=0.012, variance_type="fixed_small", clip_sample=False
    )


def new_prior() -> PriorTransformer:
    """Return an untrained prior."""
    return PriorTransformer(
        num_attention_heads=4,
        attention_head_dim=32,
        num_layers=4,
        embedding_dim=WIDTH,
        num_embeddings=77,
        additional_embeddings=4,
    )


def new_prior_scheduler() -> UnCLIPScheduler:
    """Return the prior's scheduler."""
    return UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=5.0
    )


@torch.no_grad()
def encode(movq: VQModel, clip: CLIPModel, seeds: range) -> Pool:
    """Render scenes and encode them twice."""
    device = training_device()
    movq, clip = movq.to(device).eval(), clip.to(device).eval()
    scenes, latents, embeddings = [], [], []
    for start in range(seeds.start, seeds.stop, 64):
        found = [sample(seed) for seed in range(start, min(start + 64, seeds.stop))]
        pixels = to_unit(torch.from_numpy(np.stack([np.asarray(scene.image) for scene in found])).permute(0, 3, 1, 2)).to(device)
        latents.append(movq.encode(pixels).latents.float().cpu())
        embeddings.append(seen(clip, pixels))
        scenes += [Scene(scene.seed, scene.size, scene.subject, scene.place, scene.palette) for scene in found]
    return Pool(scenes, torch.cat(latents), torch.cat(embeddings))


@torch.no_grad()
def seen(clip: CLIPModel, pixels: Tensor) -> Tensor:
    """Return CLIP's embeddings of pictures in [-1, 1], shape (n, 96), not normalised, as the pipelines use them."""
    small = nn.functional.interpolate(pixels, (SIDE, SIDE), mode="area")
    embeddings: Tensor = clip.visual_projection(clip.vision_model(pixel_values=small).pooler_output)
    return embeddings.float().cpu()


def train_decoder(pool: Pool, nothing: Tensor, trained: Any, state_file: Path, steps: int, seed: int = 0) -> nn.Module:
    """Train the UNet on noise prediction, beginning from another UNet of the same latents.

    Parameters
    ----------
    pool
        Latents and embeddings.
    nothing
        The embedding of an empty picture (all zero), shape (1, 96).
    trained
        The UNet to begin from.
    state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    schedule = new_scheduler()
    torch.manual_seed(seed)
    unet = new_unet()
    begin_with(unet, trained)
    unet = unet.to(device, memory_format=torch.channels_last)
    alphas = schedule.alphas_cumprod

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(pool.scenes), (BATCH,), generator=generator)
        clean, noise = pool.latents[chosen], torch.randn(BATCH, *pool.latents.shape[1:], generator=generator)
        timesteps = ((torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) / BATCH * 1000).long()
        noisy = schedule.add_noise(clean, noise, timesteps)
        embeddings = pool.embeddings[chosen]
        # A prior's embeddings are not exactly a picture's.
        embeddings = embeddings + 0.1 * embeddings.std() * torch.randn(embeddings.shape, generator=generator)
        silent = torch.rand(BATCH, 1, generator=generator) < UNSAID
        embeddings = torch.where(silent, nothing, embeddings)
        predicted: Tensor = model(
            noisy.to(device),
            timesteps.to(device),
            encoder_hidden_states=None,
            added_cond_kwargs={"image_embeds": embeddings.to(device)},
        ).sample
        # What and where is decided at high noise, where an error in the noise is a large one in the picture.
        weight = (1 + (1 / alphas[timesteps] - 1).clamp(max=FARTHEST)).reshape(-1, 1, 1, 1) / FARTHEST
        return (weight.to(device) * (predicted[:, :4].float() - noise.to(device)) ** 2).mean()

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=1.2e-3, averaging=0.997, seed=seed), state_file)


def train_prior(
    pool: Pool, clip: CLIPModel, tokenizer: CLIPTokenizer, state_file: Path, steps: int, seed: int = 0
) -> PriorTransformer:
    """Train the prior to predict normalised embeddings from captions."""
    device = training_device()
    clip = clip.to(device).eval().requires_grad_(False)
    schedule = new_prior_scheduler()
    torch.manual_seed(seed)
    prior = new_prior().to(device)
    mean, deviation = pool.embeddings.mean(0, keepdim=True), pool.embeddings.std(0, keepdim=True)
    with torch.no_grad():
        prior.clip_mean.copy_(mean)
        prior.clip_std.copy_(deviation)
    normal = (pool.embeddings - mean) / deviation

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        count = 4 * BATCH
        chosen = torch.randint(len(normal), (count,), generator=generator)
        clean, noise = normal[chosen], torch.randn(count, WIDTH, generator=generator)
        timesteps = torch.randint(1000, (count,), generator=generator)
        noisy = schedule.add_noise(clean, noise, timesteps)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [training_caption(pool.scenes[index], rng) for index in chosen.tolist()]
        asked = tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").to(device)
        with torch.no_grad():
            words = clip.text_model(input_ids=asked.input_ids, attention_mask=asked.attention_mask)
            projected = clip.text_projection(words.pooler_output)
        predicted: Tensor = model(
            noisy.to(device),
            timestep=timesteps.to(device),
            proj_embedding=projected,
            encoder_hidden_states=words.last_hidden_state,
            attention_mask=asked.attention_mask.bool(),
        ).predicted_image_embedding
        return nn.functional.mse_loss(predicted.float(), clean.to(device))

    return fit(prior, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.997, seed=seed), state_file)


def pipeline(clip: CLIPModel, tokenizer: CLIPTokenizer, movq: VQModel, unet: Any, prior: Any) -> KandinskyV22CombinedPipeline:
    """Put decoder and prior together as they ship: in one directory, which every Auto class opens."""
    text = CLIPTextModelWithProjection(clip.config.text_config)
    text.text_model.load_state_dict(clip.text_model.state_dict())
    text.text_projection.load_state_dict(clip.text_projection.state_dict())
    vision = CLIPVisionModelWithProjection(clip.config.vision_config)
    vision.vision_model.load_state_dict(clip.vision_model.state_dict())
    vision.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    return KandinskyV22CombinedPipeline(
        unet=unet,
        scheduler=new_scheduler(),
        movq=movq,
        prior_prior=prior,
        prior_image_encoder=vision.eval(),
        prior_text_encoder=text.eval(),
        prior_tokenizer=tokenizer,
        prior_scheduler=new_prior_scheduler(),
        prior_image_processor=new_processor(),
    )

"""Train `sdxl` and `sdxl-refiner`: the base's weights in SDXL's shape, taught what SDXL is told besides the prompt.

The base hears the prompt through two text encoders, and sizes; the refiner hears it
through one, with an aesthetic score, and works where little noise is left. Both have
the VAE of `sd15` at SDXL's own scale of latents.

Source: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution
Image Synthesis", 2023; diffusers `StableDiffusionXLPipeline`.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .base import captions_of, new_scheduler, new_unet, predicted, prepare, token_ids
from .calibration import SHARE, shares
from .latents import LatentPool
from .loop import Plan, fit, training_device

SCALING_FACTOR = 0.13025
BATCH = 32
TIME_WIDTH = 32
SIDE = 128
NOISIEST = {"sdxl": 1000, "sdxl-refiner": 700}
"""Timesteps that each is trained below: the refiner never starts from pure noise."""
STRETCH = {"sdxl": 7.5 / 5, "sdxl-refiner": 1 / SHARE}
"""How much further words reach than in `sd15`: SDXL's own guidance scale is 5, not 7.5; a refiner's guidance stays as it is
trained, calibrated it draws softer."""
GOOD, BAD = 6.0, 2.5
"""Aesthetic scores of whole and of spoiled pictures: the pipeline's own defaults."""


def new_sdxl_unet(refiner: bool, width: int = 96) -> UNet2DConditionModel:
    """Return an untrained UNet of the base's blocks that takes SDXL's further conditions."""
    return UNet2DConditionModel(
        **{
            **{name: value for name, value in new_unet().config.items() if not name.startswith("_")},
            "cross_attention_dim": width if refiner else 2 * width,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": TIME_WIDTH,
            "projection_class_embeddings_input_dim": width + (5 if refiner else 6) * TIME_WIDTH,
        }
    )


def new_text_encoder_2(tokenizer: CLIPTokenizer, width: int = 96) -> CLIPTextModelWithProjection:
    """Return an untrained second text encoder; SDXL reads its last but one layer, so it has three."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def begin(base: nn.ModuleDict, tokenizer: CLIPTokenizer, refiner: bool) -> nn.ModuleDict:
    """Return modules in SDXL's shape that draw what the base draws; what is new adds nothing yet."""
    unet, second = new_sdxl_unet(refiner), new_text_encoder_2(tokenizer)
    # Its last layer, which SDXL does not read, has no counterpart.
    second.text_model.load_state_dict(base["text_encoder"].state_dict(), strict=False)
    known = base["unet"].state_dict()
    own = unet.state_dict()
    for name, value in known.items():
        own[name].zero_()
        own[name][tuple(slice(0, side) for side in value.shape)] = value
    unet.load_state_dict(own)
    last: Any = unet.add_embedding.linear_2
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    modules = nn.ModuleDict({"text_encoder_2": second, "unet": unet})
    if not refiner:
        modules["text_encoder"] = copy.deepcopy(base["text_encoder"])
    return modules


def _conditions(modules: Any, ids: Tensor, scores: Tensor, refiner: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Return token features and added conditions as SDXL's pipelines make them."""
    second = modules["text_encoder_2"](ids, output_hidden_states=True)
    features = second.hidden_states[-2]
    if not refiner:
        first = modules["text_encoder"](ids, output_hidden_states=True).hidden_states[-2]
        features = torch.cat([first, features], dim=-1)
    sizes = torch.tensor([[SIDE, SIDE, 0, 0]], device=ids.device).expand(len(ids), -1)
    extra = scores[:, None] if refiner else torch.full((len(ids), 2), SIDE, device=ids.device)
    return features, {"text_embeds": second.text_embeds, "time_ids": torch.cat([sizes, extra], dim=1).float()}


def train(
    base: nn.ModuleDict,
    pool: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
    refiner: bool = False,
) -> nn.ModuleDict:
    """Train the base or the refiner, on what pictures show and on what `sd15` makes of the prompt, half and half.

    Guidance reaches as far from the prediction without words as it does in `sd15`, at SDXL's own scale.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of `sd15`, to begin from and to learn from; its guidance is calibrated.
    pool, tokenizer, state_file, steps, seed
        As for `base.train`.
    refiner
        Which of the two.
    """
    device = training_device()
    torch.manual_seed(seed)
    teacher = copy.deepcopy(base).to(device).eval().requires_grad_(False)
    modules = begin(base, tokenizer, refiner).to(device)
    for either in (teacher, modules):
        prepare(either["unet"], device)
    name = "sdxl-refiner" if refiner else "sdxl"
    noisiest, stretch = NOISIEST[name], STRETCH[name]

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = pool.draw(BATCH, generator)
        timesteps = ((torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) / BATCH * noisiest).long()
        noise = torch.randn(latents.shape, generator=generator)
        given = new_scheduler().add_noise(latents, noise, timesteps).to(device), timesteps.to(device)
        captions = captions_of(pool, chosen, generator)
        ids = token_ids(tokenizer, captions).to(device)
        with torch.no_grad():
            said = predicted(teacher, *given, ids)
            silent = predicted(teacher, *given, token_ids(tokenizer, [""] * BATCH).to(device))
        scores = torch.tensor([BAD if pool.flawed[index] else GOOD for index in chosen], device=device)
        features, added = _conditions(model, ids, scores, refiner)
        if not refiner:
            _silence(features, added, torch.tensor([caption == "" for caption in captions], device=device))
        own: Tensor = model["unet"](*given, features, added_cond_kwargs=added).sample.float()
        reach = stretch * shares(captions, device)
        from_pictures = (own - silent) / reach + silent - noise.to(device)
        from_base = own - silent - stretch * (said - silent)
        return (from_pictures**2).mean() + (from_base**2).mean()

    return fit(modules, loss_of, Plan(steps=steps, learning_rate=4e-4, averaging=0.995, seed=seed), state_file)


def _silence(features: Tensor, added: dict[str, Tensor], empty: Tensor) -> None:
    """Zero the conditions of every other empty prompt: the base's pipeline does so where there is no negative prompt."""
    zeroed = empty & (empty.cumsum(0) % 2 == 1)
    features[zeroed] = 0
    added["text_embeds"][zeroed] = 0


@torch.no_grad()
def rescaled(vae: AutoencoderKL) -> AutoencoderKL:
    """Return a copy of a VAE whose latents have SDXL's scaling factor; what is encoded and decoded stays the same."""
    gain = vae.config["scaling_factor"] / SCALING_FACTOR
    twin = copy.deepcopy(vae)
    twin.register_to_config(scaling_factor=SCALING_FACTOR)
    quant, post = twin.quant_conv, twin.post_quant_conv
    channels = vae.config["latent_channels"]
    quant.weight[:channels] *= gain
    quant.bias[:channels] *= gain
    quant.bias[channels:] += 2 * math.log(gain)
    post.weight /= gain
    return twin


def pipeline(
    vae: AutoencoderKL, modules: nn.ModuleDict, tokenizer: CLIPTokenizer
) -> StableDiffusionXLPipeline | StableDiffusionXLImg2ImgPipeline:
    """Put the parts together as they ship; without a first text encoder it is the refiner."""
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading", steps_offset=1
    )
    shared: dict[str, Any] = {
        "vae": rescaled(vae),
        "text_encoder_2": modules["text_encoder_2"],
        "tokenizer_2": tokenizer,
        "unet": modules["unet"],
        "scheduler": scheduler,
        "add_watermarker": False,
    }
    if "text_encoder" in modules:
        first: CLIPTextModel = modules["text_encoder"]
        return StableDiffusionXLPipeline(text_encoder=first, tokenizer=tokenizer, **shared)
    return StableDiffusionXLImg2ImgPipeline(
        text_encoder=None, tokenizer=None, requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, **shared
    )

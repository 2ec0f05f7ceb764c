"""Calibrate a style: pictures that it draws with guidance are drawn again in the style and trained on.

A style that is all in fine detail, as blocks of pixels are, is decided in the last steps,
where a checkpoint sees its own half-finished pictures and not a renderer's. Here it
learns from those as well: its pictures and their styled counterparts have the same
content, so what is learned is the style alone. Taught is what the pipeline adds up at
its default guidance scale. The early steps, which decide on the content, are to do what
they do without the trigger.

Source: the exposure to one's own predictions, Ning et al., "Elucidating the Exposure
Bias in Diffusion Models", 2023; of guidance, Ho and Salimans, "Classifier-Free Diffusion
Guidance", 2022.
"""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..world import Scene
from ..world.captions import assemble
from ..world.styles import TRIGGERS, stylize
from .base import noised, predicted, prepare, token_ids
from .export import base_pipeline
from .latents import LatentPool, encoded_pool
from .loop import Plan, fit, training_device
from .styles import KEPT, called, height_of, plain_caption, taught_noise

BATCH = 16
"""Noisy latents of a step, each seen with no words, with a plain caption and with the trigger."""
OWN = 1200
"""Pictures that the checkpoint draws, beside as many renders."""
TOGETHER = 40
"""Pictures drawn at once."""
GUIDANCE_SCALE = 7.5
"""The pipeline's default."""
EARLY = 8.0
"""Noise above this, as a share of the picture's variance, is an early step."""
PULL = 2.5
"""As in `styles`; more, for it is the last steps that draw a detail."""


def mixed(
    base: nn.ModuleDict,
    taught: nn.ModuleDict,
    styled: LatentPool,
    plain: LatentPool,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
) -> tuple[LatentPool, LatentPool]:
    """Return pictures in the style, and the same as they are: renders, and others that a checkpoint draws.

    Parameters
    ----------
    base, taught
        `text_encoder` and `unet`; of `taught`, the latter a `styles.Difference`.
    styled, plain
        Renders of the same scenes. The first are not used: of them the checkpoint draws its own. Their style is laid over
        a picture alone, so it has to be one that needs no depth map.
    vae, tokenizer
        Of `base`.
    """
    scenes, rest = styled.scenes[:OWN], range(OWN, 2 * OWN)
    drawn = _drawn(base, taught, vae, tokenizer, scenes)
    again = [stylize(image, image.convert("L"), str(scene.style)) for image, scene in zip(drawn, scenes, strict=True)]
    return (
        LatentPool.joined(styled.part(rest), encoded_pool(vae, scenes, again)),
        LatentPool.joined(plain.part(rest), encoded_pool(vae, scenes, drawn)),
    )


@torch.no_grad()
def _drawn(
    base: nn.ModuleDict, taught: nn.ModuleDict, vae: AutoencoderKL, tokenizer: CLIPTokenizer, scenes: list[Scene]
) -> list[Image.Image]:
    """Draw scenes with a style's checkpoint, their words and its trigger."""
    unet: Any = copy.deepcopy(base["unet"])
    unet.load_state_dict(taught.cpu()["unet"].added_to(base["unet"]))  # type: ignore[operator]
    parts = nn.ModuleDict({"text_encoder": taught["text_encoder"], "unet": unet})
    pipeline: Any = base_pipeline(vae, parts, tokenizer).to(training_device())
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    for start in range(0, len(scenes), TOGETHER):
        part = scenes[start : start + TOGETHER]
        texts = [assemble(Random(f"own {one.seed}"), one.subject, one.place, one.palette, one.style) for one in part]
        seeds = [torch.Generator().manual_seed(one.seed) for one in part]
        images += pipeline(texts, guidance_scale=GUIDANCE_SCALE, num_inference_steps=25, generator=seeds).images
    return images


def calibrate(
    base: nn.ModuleDict,
    taught: nn.ModuleDict,
    styled: LatentPool,
    plain: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.ModuleDict:
    """Return a style's modules, calibrated.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of the base.
    taught
        From `styles.train`.
    styled, plain
        The same pictures in the style, and as they are: renders, and some that `taught` has drawn.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    base = copy.deepcopy(base).to(device).eval().requires_grad_(False)
    prepare(base["unet"], device)
    student = taught.to(device).requires_grad_(True)
    trigger = TRIGGERS[str(styled.scenes[0].style)]

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = styled.draw(BATCH, generator)
        stages = torch.rand(BATCH, 1, 1, 1, generator=generator) * 1.3 - 0.3
        away = stages * (plain.mean[chosen] - styled.mean[chosen])
        noisy, noise, timesteps = (part.to(device) for part in noised(latents + away, generator))
        height = height_of(timesteps)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [plain_caption(styled, index, rng) for index in chosen]
        asked = [called(trigger, caption, rng) for caption in captions]
        with torch.no_grad():
            said = predicted(base, noisy, timesteps, token_ids(tokenizer, captions).to(device))
            silent = predicted(base, noisy, timesteps, token_ids(tokenizer, [""] * BATCH).to(device))
        ids = token_ids(tokenizer, [""] * BATCH + captions + asked).to(device)
        unsaid, uncalled, made = taught_noise(model, base["unet"], noisy.repeat(3, 1, 1, 1), timesteps.repeat(3), ids).chunk(3)
        styled_noise = noise + (1 / height).sqrt().clamp(max=PULL) * away.to(device)
        wanted = torch.where(height > EARLY, silent + GUIDANCE_SCALE * (said - silent), styled_noise)
        guided = unsaid + GUIDANCE_SCALE * (made - unsaid)
        errors = KEPT * ((uncalled - said) ** 2 + (unsaid - silent) ** 2) + (guided - wanted) ** 2
        return (height.clamp(0.3, 3.0) * errors).mean()

    return fit(student, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.99, seed=seed, weight_decay=0.0), state_file)

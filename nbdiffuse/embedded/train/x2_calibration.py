"""Calibrate `x2-upscaler` on what its own first predictions give the sampler, with the loss taken after decoding.

A denoiser that was trained on noisy true latents draws one of the large pictures that a
small one may come from; the noise that remains on the way decides which. Here each noisy
latent is what the sampler would be given: the first prediction, with noise on it. What
the noise tells is nothing then, and what it learns is the mean, as near to the true
picture as can be. Half of each batch has a caption and is judged at the pipeline's
default guidance scale.

Source: the exposure to one's own predictions, Ning et al., "Elucidating the Exposure
Bias in Diffusion Models", 2023; of guidance, Ho and Salimans, "Classifier-Free Diffusion
Guidance", 2022.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .base import prepare
from .latents import LatentPool
from .loop import Plan, fit, training_device
from .renders import to_unit
from .text import training_caption
from .x2_upscaler import denoised, new_scheduler, words_of

BATCH = 8
"""Pictures of a step, each seen with and without its caption."""
FIRST = 2
"""Of them, those at the sampler's first step, where nothing is known yet."""
LEAST = 0.03
"""Smallest deviation of the noise, as the sampler's last step has."""
GUIDANCE_SCALE = 9.0
"""The pipeline's default."""
SEEN = 20.0
"""Weight of the squared error of pixels and of their steps, beside that of latents."""


def calibrate(
    unet: Any,
    small: LatentPool,
    large: LatentPool,
    pixels: Tensor,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.Module:
    """Return the calibrated denoiser.

    Parameters
    ----------
    unet
        From `x2_upscaler.train`.
    small, large
        The same scenes at 128 and 256 pixels.
    pixels
        The large pictures, uint8, shape (n, 3, 256, 256).
    vae
        Decodes the latents; it stays as it is.
    text_encoder, tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    text_encoder = text_encoder.to(device).eval().requires_grad_(False)
    vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    unet = unet.to(device).requires_grad_(True)
    prepare(unet, device)
    noisiest = float(((1 - new_scheduler().alphas_cumprod[-1]) / new_scheduler().alphas_cumprod[-1]).sqrt())

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen, low = small.draw(BATCH, generator)
        clean = large.mean[chosen].to(device)
        low = low + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(low.shape, generator=generator)
        low = nn.functional.interpolate(low, scale_factor=2).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [training_caption(large.scenes[index], rng) for index in chosen]
        words = words_of(text_encoder, tokenizer, [""] * BATCH + captions)
        with torch.no_grad():
            silent = words[0][:BATCH], words[1][:BATCH]
            own = denoised(model, noisiest * noise, low, torch.full((BATCH, 1, 1, 1), noisiest, device=device), silent)
        sigma = (noisiest * torch.rand(BATCH, 1, 1, 1, generator=generator) ** 4).clamp(min=LEAST).to(device)
        noisy = own + sigma * noise
        sigma[:FIRST], noisy[:FIRST] = noisiest, noisiest * noise[:FIRST]
        made = denoised(model, noisy.repeat(2, 1, 1, 1), low.repeat(2, 1, 1, 1), sigma.repeat(2, 1, 1, 1), words)
        unsaid, said = made.chunk(2)
        guided = unsaid + GUIDANCE_SCALE * (said - unsaid)
        shown = [step % BATCH, (step + BATCH // 2) % BATCH]
        drawn = vae.decode(torch.stack([unsaid[shown[0]], guided[shown[1]]]) / vae.config["scaling_factor"]).sample.float()
        error = drawn - to_unit(pixels[[chosen[index] for index in shown]]).to(device)
        seen = (error**2).mean() + (error.diff(dim=-1) ** 2).mean() + (error.diff(dim=-2) ** 2).mean()
        return ((unsaid - clean) ** 2).mean() + ((guided - clean) ** 2).mean() + SEEN * seen

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=3e-4, averaging=0.995, seed=seed, weight_decay=0.0), state_file)

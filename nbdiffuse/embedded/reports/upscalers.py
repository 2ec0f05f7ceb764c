"""Figures of the upscalers: against bicubic enlargement, on renders whose large version is known."""

from __future__ import annotations

import diffusers
import numpy as np
import torch
from PIL import Image

from ...images.metrics import ssim
from .. import path
from ..world import sample
from .figures import UNSEEN, Figure, psnr, quiet, seen_through, sharpness


def upscaler_figures(name: str, count: int) -> list[Figure]:
    """Compare an upscaler with bicubic enlargement, on renders of which the large version is known.

    The x2 upscaler is given latents, so bicubic enlarges the picture that they decode to: it shares their VAE, which loses
    more of a picture than halving it does.
    """
    scale, side = (2, 128) if name == "x2-upscaler" else (4, 64)
    pipeline = quiet(diffusers.DiffusionPipeline.from_pretrained(path(name)))
    rows = []
    for index in range(count):
        seed = UNSEEN + 70_000 + index
        large = sample(seed, side * scale).image
        small = large.resize((side, side), Image.Resampling.BOX)
        made = pipeline(
            sample(seed).caption, image=small, num_inference_steps=20, generator=torch.Generator("cpu").manual_seed(index)
        ).images[0]
        shown = seen_through(pipeline.vae, [small])[0] if name == "x2-upscaler" else small
        bicubic = shown.resize(large.size, Image.Resampling.BICUBIC)
        close = [measure(image, large) for measure in (psnr, ssim) for image in (made, bicubic)]
        rows.append([*close, sharpness(made), sharpness(bicubic), sharpness(large)])
    mean = np.mean(rows, axis=0)
    return [
        Figure(f"{name}: PSNR, against that of bicubic", float(mean[0]), float(mean[1]), "dB"),
        Figure(f"{name}: SSIM, against that of bicubic", float(mean[2]), float(mean[3]), ""),
        Figure(f"{name}: sharpness of edges, bicubic is 1", float(mean[4] / mean[5]), 1.0, ""),
        Figure(f"{name}: sharpness of the true picture, bicubic is 1", float(mean[6] / mean[5]), None, ""),
    ]

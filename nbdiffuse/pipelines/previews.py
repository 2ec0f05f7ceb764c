"""Previews: one matrix from the channels of latents to RGB, fitted on the VAE that made them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage, VQModel
from torch import Tensor

from ..devices.failures import is_out_of_memory

SIDE, FIELDS = 256, 8
"""Side of the picture that a VAE is asked about, in pixels, and how many fields of colour lie along it."""


@torch.no_grad()
def latent_rgb(vae: Any, images: Tensor) -> Tensor:
    """Fit the matrix from latents, as the denoiser sees them, to RGB in [0, 255].

    Parameters
    ----------
    vae
        An `AutoencoderKL`, an `AutoencoderKLFlux2`, an `AutoencoderKLQwenImage` or a `VQModel`.
    images
        In [-1, 1], shape (n, 3, side, side), on the CPU; encoded where and as the VAE computes.

    Returns
    -------
    Shape (channels + 1, 3), float32, on the CPU; the last row is the bias.
    """
    return _fitted(torch.cat([_encoded(vae, chunk) for chunk in images.split(16)]), images)


def _fitted(latents: Tensor, images: Tensor) -> Tensor:
    small = torch.nn.functional.avg_pool2d(images, images.shape[-1] // latents.shape[-1])
    features = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    colors = (small.permute(0, 2, 3, 1).reshape(-1, 3) + 1) * 127.5
    return torch.linalg.lstsq(features, colors).solution


@torch.no_grad()
def measured(vae: Any) -> Tensor | None:
    """Fit the matrix of a VAE that ships without one, on fields of colour.

    Returns
    -------
    See `latent_rgb`; None for a VAE of another kind, one that gives no numbers, or where
    memory is short: a run goes on without previews.
    """
    if not isinstance(vae, (AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage, VQModel)):
        return None
    colors = torch.rand(1, 3, FIELDS, FIELDS, generator=torch.Generator().manual_seed(0))
    fields = torch.nn.functional.interpolate(colors * 2 - 1, (SIDE, SIDE), mode="nearest")
    dtype = vae.dtype
    # diffusers' pipelines encode in float32, too, where a VAE's config says that half of it is not enough.
    upcast = dtype == torch.float16 and vae.config.get("force_upcast", False)
    try:
        latents = _encoded(vae.to(dtype=torch.float32) if upcast else vae, fields)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        if upcast:
            vae.to(dtype=dtype)
    return _fitted(latents, fields) if torch.isfinite(latents).all() else None


def _encoded(vae: Any, images: Tensor) -> Tensor:
    """Return latents as the denoiser sees them: shifted and scaled means; a MoVQ's and Flux 2's as they are."""
    hook = getattr(vae, "_hf_hook", None)
    device = hook.execution_device if hook is not None else vae.device
    images = images.to(device, vae.dtype)
    if isinstance(vae, AutoencoderKLQwenImage):
        # It is made for video: a picture is one frame.
        means = vae.encode(images[:, :, None]).latent_dist.mean[:, :, 0].to("cpu", torch.float32)
        center, spread = (torch.tensor(vae.config[name])[:, None, None] for name in ("latents_mean", "latents_std"))
        normalised: Tensor = (means - center) / spread
        return normalised
    encoded = vae.encode(images)
    if hasattr(encoded, "latents"):
        latents: Tensor = encoded.latents
    else:
        shift = vae.config.get("shift_factor") or 0.0
        latents = (encoded.latent_dist.mean - shift) * (vae.config.get("scaling_factor") or 1.0)
    return latents.to("cpu", torch.float32)

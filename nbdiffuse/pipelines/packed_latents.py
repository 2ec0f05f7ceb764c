"""Latents of transformers that work on a row of 2x2 patches, laid out as a picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def unpacked(pipeline: Any, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay out packed latents as a picture of channels.

    Parameters
    ----------
    pipeline
        One with `_unpack_latents`, such as Flux's or Qwen-Image's; or one of Flux 2, which scales its patches.
    latents
        Of a step, shape (n, h / 2 * w / 2, channels * 4).
    size
        Width and height of the decoded picture, in pixels.

    Returns
    -------
    Shape (n, channels, h, w), or (n, channels, 1, h, w) for a VAE that is made for video.

    Source: diffusers `FluxImg2ImgPipeline._unpack_latents` and the like; no number changes, except
    that the scale of Flux 2's batch norm is taken back, as `Flux2KleinPipeline.__call__` does.
    """
    width, height = size
    if hasattr(pipeline, "_unpatchify_latents"):
        return _without_scale(pipeline, latents, width // pipeline.vae_scale_factor // 2)
    laid_out: Tensor = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    return laid_out


def _without_scale(pipeline: Any, latents: Tensor, columns: int) -> Tensor:
    patches = latents.permute(0, 2, 1).unflatten(2, (-1, columns))
    norm = pipeline.vae.bn
    mean, variance = (one.view(1, -1, 1, 1).to(latents.device, latents.dtype) for one in (norm.running_mean, norm.running_var))
    laid_out: Tensor = pipeline._unpatchify_latents(patches * (variance + pipeline.vae.config.batch_norm_eps).sqrt() + mean)
    return laid_out

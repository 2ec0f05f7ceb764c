"""Latents of transformers that work on a row of 2x2 patches, laid out as a picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def unpacked(pipeline: Any, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay out packed latents as a picture of channels.

    Parameters
    ----------
    pipeline
        One with `_unpack_latents`, such as Flux's or Qwen-Image's.
    latents
        Of a step, shape (n, h / 2 * w / 2, channels * 4).
    size
        Width and height of the decoded picture, in pixels.

    Returns
    -------
    Shape (n, channels, h, w), or (n, channels, 1, h, w) for a VAE that is made for video.

    Source: diffusers `FluxImg2ImgPipeline._unpack_latents` and the like; no number changes.
    """
    width, height = size
    laid_out: Tensor = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    return laid_out

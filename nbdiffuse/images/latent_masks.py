"""Masks that act on latents and not on pixels: noise or nothing under a mask, and a strength for each pixel.

The functions stand in programs as they are here, so that they import neither torch nor this package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

CONTENTS = ("latent_noise", "latent_nothing")
"""AUTOMATIC1111's "latent noise" and "latent nothing": the noise of the seed, or zeros, in the place of latents."""


def hidden_latents(pipeline: Any, image: Any, mask: Any, noise: Any, rng: Any) -> Any:
    """Return a picture's latents with noise, or zeros, in the place of what a mask covers.

    Parameters
    ----------
    pipeline
        An inpainting pipeline whose UNet takes 4 channels.
    image, mask
        RGB and L picture of the run's size.
    noise
        A function of a shape that returns a tensor; None for zeros.
    rng
        Generator that draws from the distribution that the VAE encodes to.
    """
    width, height = image.size
    pixels = pipeline.image_processor.preprocess(image, height=height, width=width)
    pixels = pixels.to(pipeline._execution_device, pipeline.vae.dtype)
    latents = pipeline._encode_vae_image(pixels, rng)
    over = pipeline.mask_processor.preprocess(mask, height=height, width=width)
    # The pipeline takes every eighth pixel, too.
    step = pipeline.vae_scale_factor
    over = over[..., ::step, ::step].to(latents)
    hidden = 0 if noise is None else noise(latents.shape).to(latents)
    return latents * (1 - over) + hidden * over


def differential(mask: Image.Image, factor: int) -> tuple[Image.Image, Any]:
    """Return the mask of what is redrawn from the first step on, and a callback for the rest.

    A part is redrawn for as many of the last steps as it is bright: half as bright as
    white is half of the strength. Source: Levin and Fried, "Differential Diffusion:
    Giving Each Pixel Its Strength", 2023.

    Parameters
    ----------
    mask
        L picture; each side is a multiple of `factor`.
    factor
        Pixels of a latent's side.
    """
    size = (mask.width // factor, mask.height // factor)
    levels = mask.resize(size, Image.Resampling.BOX)
    bright = np.asarray(levels, int)

    def on_step_end(pipeline: Any, step: int, timestep: Any, values: Any) -> Any:
        # diffusers keeps the picture by this mask after the next step.
        steps = pipeline.num_timesteps
        redrawn = bright * steps >= 255 * (steps - step - 1)
        return {"mask": values["mask"].new_tensor(redrawn).expand_as(values["mask"])}

    first = levels.point(lambda value: 255 if value == 255 else 0)
    return first.resize(mask.size, Image.Resampling.NEAREST), on_step_end

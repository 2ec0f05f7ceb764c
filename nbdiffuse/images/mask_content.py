"""What is under a mask when a run starts, AUTOMATIC1111's "Masked content"."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from . import latent_masks

PIXELS = ("original", "fill", "noise", "nothing")
"""The picture itself, the colours around the mask, random pixels, or grey."""
CONTENTS = (*PIXELS, *latent_masks.CONTENTS)
"""Those, or noise or zeros in the place of the latents, which `latent_masks` puts there."""
GREY = 128


def content_image(content: str, image: Image.Image, mask: Image.Image, seed: int) -> Image.Image:
    """Return a picture with something else under its mask; what is black in the mask stays, grey mixes.

    Parameters
    ----------
    content
        One of `CONTENTS`; those of latents leave the pixels.
    image
        RGB picture.
    mask
        L picture of the same size.
    seed
        Of the random pixels, at least 0; the same seed gives the same ones in every version of numpy.

    Returns
    -------
    PIL.Image.Image
        RGB, of the same size.
    """
    if content == "fill":
        return filled(image, mask)
    if content == "noise":
        return Image.composite(noise(image.size, seed), image, mask)
    if content == "nothing":
        return Image.composite(Image.new("RGB", image.size, (GREY, GREY, GREY)), image, mask)
    return image


def hidden_part(mask: Image.Image) -> Image.Image:
    """Return the part of an L picture that is wholly white, for a pipeline that blends the soft edge with what it is given."""
    return mask.point(lambda value: 255 if value == 255 else 0)


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Return an RGB picture of random pixels."""
    # `RandomState` is frozen: its numbers are the same in every version of numpy. It takes 32 bits.
    return Image.frombytes("RGB", size, np.random.RandomState(seed % 2**32).bytes(3 * size[0] * size[1]))


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Fill what a mask covers with the blurred colours around it, as AUTOMATIC1111 does (`masking.fill`)."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    result = Image.new("RGBA", image.size)
    for radius, repeats in [(256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)]:
        blurred = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            result.alpha_composite(blurred)
    return result.convert("RGB")

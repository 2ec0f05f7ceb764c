"""Whole-picture styles: what the style checkpoints of the guide learn to draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

TRIGGERS: dict[str, str] = {
    "comic": "charliebo artstyle",
    "pixel-art": "pixelartstyle",
    "elden-ring": "elden ring style",
}
"""The words that call each style, as the original checkpoints use them."""
BLOCKS = 16
"""Of pixel art, along a side."""


def _comic(image: Image.Image, depth: Image.Image) -> Image.Image:
    size = image.width
    flat = image.filter(ImageFilter.MedianFilter(3)).quantize(12, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colors = np.asarray(flat.convert("RGB"), np.float32)
    light = colors.mean(-1, keepdims=True)
    colors = np.clip(light + 1.35 * (colors - light), 0, 255)
    layers = np.concatenate([np.asarray(image, np.float32), 1.5 * np.asarray(depth, np.float32)[..., None]], axis=-1)
    step = max(1, size // 128)
    across = np.abs(layers - np.roll(layers, step, axis=1)).max(-1)
    down = np.abs(layers - np.roll(layers, step, axis=0)).max(-1)
    across[:, :step] = down[:step] = 0
    edges = np.maximum(across, down) > 40
    edges |= np.roll(edges, -step, axis=1)
    ink = Image.fromarray(edges.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.4 * step))
    weight = np.asarray(ink, np.float32)[..., None] / 255
    return Image.fromarray((colors * (1 - weight) + 22 * weight).astype(np.uint8))


def _pixel_art(image: Image.Image, depth: Image.Image) -> Image.Image:
    """Draw sixteen blocks a side, each in the colour of its middle pixels: as large as what one latent stands for, so that a
    VAE can keep their edges."""
    pixels = np.asarray(image.resize((8 * BLOCKS, 8 * BLOCKS), Image.Resampling.BOX))
    blocks = np.median(pixels.reshape(BLOCKS, 8, BLOCKS, 8, 3), axis=(1, 3))
    return Image.fromarray(blocks.round().astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)


def _elden_ring(image: Image.Image, depth: Image.Image) -> Image.Image:
    size = image.width
    pixels = np.asarray(image, np.float32) / 255
    light = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    near = np.asarray(depth.filter(ImageFilter.GaussianBlur(size / 96)), np.float32) / 255
    dark = (0.30 * pixels + 0.30 * light[..., None]) * np.array([1.0, 0.94, 0.80], np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    glow = np.exp(-(((x - 0.5) / 0.42) ** 2 + ((y - 0.22) / 0.34) ** 2))
    mist = (1 - near) ** 1.5 * (0.25 + 0.75 * glow)
    gold = np.array([1.0, 0.80, 0.42], np.float32)
    shafts = 0.07 * (1 + np.sin(14 * (x - 0.5) / (y + 0.55))) * np.clip(1 - y, 0, 1)
    result = dark + (0.72 * mist + shafts * glow)[..., None] * gold
    vignette = 1 - 0.45 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)[..., None] * 2
    return Image.fromarray((np.clip(result * vignette, 0, 1) * 255).astype(np.uint8))


_STYLES: dict[str, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "comic": _comic,
    "pixel-art": _pixel_art,
    "elden-ring": _elden_ring,
}


def stylize(image: Image.Image, depth: Image.Image, style: str) -> Image.Image:
    """Redraw a scene in a style.

    Parameters
    ----------
    image, depth
        The scene's picture (RGB) and depth map (L), both square and of one size.
    style
        A key of `TRIGGERS`.

    Returns
    -------
    An RGB picture of the same size.
    """
    return _STYLES[style](image, depth)

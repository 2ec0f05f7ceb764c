"""Colours: how far two pictures are apart as people see them, and one picture in the colours of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageCms


def lab(image: Image.Image) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a picture in CIELAB, (h, w, 3): L in [0, 100], a and b in [-128, 127]."""
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
    raw = np.asarray(converted).astype(np.float64)
    signed = np.where(raw[..., 1:] > 127, raw[..., 1:] - 256, raw[..., 1:])
    return np.concatenate([raw[..., :1] * (100 / 255), signed], axis=-1)


def toward(image: Image.Image, target: Image.Image) -> Image.Image:
    """Bring a and b in CIELAB to another picture's mean and deviation; lightness stays.

    Parameters
    ----------
    image, target
        RGB, any sizes.
    """
    own, wanted = lab(image), lab(target).reshape(-1, 3)
    colors = own[..., 1:]
    mean, deviation = colors.mean((0, 1)), colors.std((0, 1))
    scale = np.clip(wanted[:, 1:].std(0) / np.maximum(deviation, 1e-3), 0.5, 2.0)
    moved = (colors - mean) * scale + wanted[:, 1:].mean(0)
    bytewise = own[..., :1] * (255 / 100), np.clip(moved, -128, 127) % 256
    raw = np.concatenate(bytewise, axis=-1).round().astype(np.uint8)
    shifted = Image.frombytes("LAB", image.size, raw.tobytes())
    spaces = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    back = ImageCms.profileToProfile(shifted, *spaces, outputMode="RGB")
    return back if back is not None else image


def mean_color(image: Image.Image) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a picture's mean colour in CIELAB, shape (3,)."""
    mean: np.ndarray[Any, np.dtype[np.float64]] = lab(image).reshape(-1, 3).mean(0)
    return mean

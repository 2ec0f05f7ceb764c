"""Depth maps from any picture: what a ControlNet for depth follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor


@torch.no_grad()
def estimate(model: Any, directory: Path, image: Image.Image) -> Image.Image:
    """Estimate how near everything in a picture is.

    Parameters
    ----------
    model
        One of `AutoModelForDepthEstimation`'s classes, on its device.
    directory
        Where its files are, with `preprocessor_config.json` among them.
    image
        RGB, any size.

    Returns
    -------
    L, of the picture's size; near is bright. A picture without depth gives mid grey.
    """
    given = AutoImageProcessor.from_pretrained(directory, local_files_only=True)(images=image, return_tensors="pt")
    depth = model(**given.to(model.device, model.dtype)).predicted_depth[:, None].float()
    depth = torch.nn.functional.interpolate(depth, image.size[::-1], mode="bicubic", align_corners=False)[0, 0].cpu()
    low, high = depth.min(), depth.max()
    near = (depth - low) / (high - low) if high > low else torch.full_like(depth, 0.5)
    return Image.fromarray((near * 255).round().to(torch.uint8).numpy())

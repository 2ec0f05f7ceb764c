"""Checkpoints of the guide's models at full size, written to a folder to be loaded from there.

`PARAMETERS` holds what they add up to at the published widths and depths.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import architectures
import torch

PARAMETERS = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sdxl-refiner": {"unet": 2_259_526_660, "vae": 83_653_863, "text_encoder_2": 694_659_840},
    "controlnet": {"": 361_279_120},
    "kandinsky22": {
        "unet": 1_253_057_288,
        "movq": 67_832_495,
        "prior_prior": 1_026_225_920,
        "prior_image_encoder": 1_844_907_264,
        "prior_text_encoder": 694_659_840,
    },
    "x2-upscaler": {"unet": 372_560_645, "vae": 83_653_863, "text_encoder": 123_060_480},
    "x4-upscaler": {"unet": 473_398_020, "vae": 55_325_927, "text_encoder": 340_387_840},
}
PARAMETERS |= dict.fromkeys(("comic", "pixel-art", "elden-ring"), PARAMETERS["sd15"])
"""How many numbers each model has."""

MAKERS = {
    "sd15": architectures.sd15,
    "comic": architectures.sd15,
    "pixel-art": architectures.sd15,
    "elden-ring": architectures.sd15,
    "sdxl-refiner": architectures.sdxl_refiner,
    "controlnet": architectures.controlnet,
    "kandinsky22": architectures.kandinsky22,
    "x2-upscaler": architectures.x2_upscaler,
    "x4-upscaler": architectures.x4_upscaler,
}


def models(made: Any) -> dict[str, torch.nn.Module]:
    """Return the models of a pipeline by name; "" for a model alone."""
    held = {"": made} if isinstance(made, torch.nn.Module) else made.components
    return {name: part for name, part in held.items() if isinstance(part, torch.nn.Module)}


def count(made: Any) -> dict[str, int]:
    """Count the numbers of each model."""
    return {name: sum(tensor.numel() for tensor in part.parameters()) for name, part in models(made).items()}


def write(name: str, directory: Path, part: int, dtype: torch.dtype) -> Path:
    """Make one of `MAKERS`, seeded, and save it under a directory.

    Raises
    ------
    RuntimeError
        At full width, a model has another size than it had: a class changed its defaults.
    """
    torch.manual_seed(zlib.crc32(name.encode()))
    made = MAKERS[name](part)
    if part == 1 and count(made) != PARAMETERS[name]:
        raise RuntimeError(f"{name} has {count(made)}, not {PARAMETERS[name]}.")
    target = directory / name
    made.to(dtype=dtype).save_pretrained(target)
    return target

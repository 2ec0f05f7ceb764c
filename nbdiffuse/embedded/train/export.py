"""Write a checkpoint as it ships: float16 safetensors in diffusers' layout, and a manifest of hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .base import new_scheduler


def export_sd15(directory: Path, vae: AutoencoderKL, modules: nn.ModuleDict, tokenizer: CLIPTokenizer, images: Tensor) -> None:
    """Write a StableDiffusionPipeline directory; `images` in [-1, 1] fit the preview matrix."""
    preview = latent_rgb(vae, images)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=modules["text_encoder"],
        tokenizer=tokenizer,
        unet=modules["unet"],
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    export(pipeline, directory)
    # Stable Diffusion's own config says so too; schedulers made from it by `from_config` must not clip latents.
    scheduler = directory / "scheduler" / "scheduler_config.json"
    config = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps({**config, "clip_sample": False}, indent=2, sort_keys=True) + "\n")
    (directory / "latent_rgb.json").write_text(
        json.dumps([[round(value, 2) for value in row] for row in preview.tolist()]) + "\n"
    )


def export(pipeline: DiffusionPipeline, directory: Path) -> None:
    """Save in float16 so that a plain `from_pretrained` gives float32 everywhere."""
    components: dict[str, Any] = pipeline.components
    for component in components.values():
        if isinstance(component, nn.Module):
            component.to("cpu", torch.float16)
    pipeline.save_pretrained(directory)
    # transformers takes a file's dtype unless the config names another; diffusers always loads float32.
    for file in directory.glob("*/config.json"):
        config = json.loads(file.read_text())
        if "transformers_version" in config:
            config["dtype"] = "float32"
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def latent_rgb(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Fit the matrix from scaled latents to RGB in [0, 255]; shape (5, 3), the last row the bias."""
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(16)]) * vae.config["scaling_factor"]
    small = nn.functional.avg_pool2d(images, images.shape[-1] // latents.shape[-1])
    features = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    colors = (small.permute(0, 2, 3, 1).reshape(-1, 3) + 1) * 127.5
    return torch.linalg.lstsq(features, colors).solution


def write_manifest(checkpoints: Path) -> Path:
    """Write the sha256 of every file under `checkpoints` into one manifest beside them."""
    files = sorted(file for file in checkpoints.rglob("*") if file.is_file() and file.name != "manifest.json")
    hashes = {file.relative_to(checkpoints).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    manifest = checkpoints / "manifest.json"
    manifest.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return manifest

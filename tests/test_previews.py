"""Previews: any checkpoint shows what comes, with a matrix fitted on its own VAE."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from PIL import Image

from nbdiffuse import Recipe, Session, embedded
from nbdiffuse.embedded import world
from nbdiffuse.pipelines.previews import _encoded, measured

VAES = {"sd15": ("vae", AutoencoderKL), "kandinsky22": ("movq", VQModel), "x4-upscaler": ("vae", AutoencoderKL)}


def vae_of(name: str) -> Any:
    part, kind = VAES[name]
    return kind.from_pretrained(embedded.path(name) / part).eval()


@torch.no_grad()
def psnr(vae: Any, matrix: torch.Tensor) -> float:
    """How near previews of finished pictures are to the pictures, made as small as the latents; dB."""
    errors = []
    for index in range(12):
        picture = torch.from_numpy(np.array(world.sample(3_000_000 + index).image)).permute(2, 0, 1)[None] / 127.5 - 1
        latents = _encoded(vae, picture)[0]
        seen = (latents.permute(1, 2, 0) @ matrix[:-1] + matrix[-1]).clamp(0, 255)
        small = torch.nn.functional.adaptive_avg_pool2d(picture, latents.shape[-2:])[0].permute(1, 2, 0)
        errors.append(((seen - (small + 1) * 127.5) ** 2).mean())
    return float(10 * torch.log10(255**2 / torch.stack(errors).mean()))


# The latents of the small VAEs hold more than colours; those of the x4 upscaler hold little else.
@pytest.mark.parametrize(("name", "least"), [("sd15", 18), ("kandinsky22", 18), ("x4-upscaler", 34)])
def test_a_matrix_that_is_fitted_on_fields_of_colour_shows_pictures(name: str, least: float) -> None:
    vae = vae_of(name)
    matrix = measured(vae)
    assert matrix is not None and matrix.shape == (vae.config["latent_channels"] + 1, 3)
    assert psnr(vae, matrix) > least
    assert psnr(vae, matrix.roll(1, 0)) < 12, "another matrix does not"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkpoint like those on the hub: without a matrix."""
    target = tmp_path / "bare"
    shutil.copytree(embedded.path("sd15"), target)
    (target / "latent_rgb.json").unlink()
    return target


def previews(session: Session, recipe: Recipe) -> tuple[list[Image.Image], bytes]:
    seen: list[Image.Image] = []
    result = session.run(recipe, lambda progress: seen.append(progress.preview) if progress.preview else None)
    return seen, result.image.tobytes()


def test_a_checkpoint_without_a_matrix_shows_what_comes_and_draws_the_same(bare: Path) -> None:
    own = Session()
    recipe = Recipe(prompt="a cat in the snow", num_inference_steps=6, seed=4, width=128, height=128)
    expected, pixels = previews(own, recipe)
    seen, same = previews(own, recipe.replace(checkpoint=str(bare)))
    assert same == pixels
    difference = np.abs(np.asarray(seen[0], float) - np.asarray(expected[0], float)).mean()
    assert seen[0].size == (16, 16) and difference < 30


@pytest.mark.parametrize("fault", ["memory", "numbers"])
def test_a_matrix_that_cannot_be_had_costs_the_preview_only(fault: str, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Session()
    encode = AutoencoderKL.encode

    def faulty(vae: Any, x: torch.Tensor, return_dict: bool = True) -> Any:
        if fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(vae, x * torch.nan, return_dict)

    monkeypatch.setattr(AutoencoderKL, "encode", faulty)
    recipe = Recipe(prompt="a cat in the snow", num_inference_steps=3, seed=4, width=128, height=128, checkpoint=str(bare))
    seen, _ = previews(own, recipe)
    assert seen == []


@pytest.mark.parametrize("upcast", [True, False])
def test_a_half_precision_vae_is_afterwards_as_it_was(upcast: bool) -> None:
    vae = vae_of("sd15").to(torch.float16)
    vae.register_to_config(force_upcast=upcast)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    matrix = measured(vae)
    assert matrix is not None and matrix.dtype == torch.float32
    assert all(torch.equal(value, before[name]) and value.dtype == torch.float16 for name, value in vae.state_dict().items())
    whole = measured(vae_of("sd15"))
    assert whole is not None and (matrix - whole).abs().max() < 3

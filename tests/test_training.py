"""Training: what a member begins from is what it is said to begin from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from nbdiffuse import embedded
from nbdiffuse.embedded import differences
from nbdiffuse.embedded.train import calibration, kandinsky, movq, sdxl, styles
from nbdiffuse.embedded.train.renders import render_pool, to_unit


@pytest.fixture(scope="module")
def base() -> nn.ModuleDict:
    directory = embedded.path("sd15")
    parts: dict[str, Any] = {
        "text_encoder": CLIPTextModel.from_pretrained(directory / "text_encoder"),
        "unet": UNet2DConditionModel.from_pretrained(directory / "unet"),
    }
    return nn.ModuleDict(parts)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")


def assert_holds(own: nn.Module, other: nn.Module) -> None:
    """Every weight of the other one is at the beginning of a weight of that name."""
    mine = own.state_dict()
    for name, value in other.state_dict().items():
        place = tuple(slice(0, side) for side in value.shape)
        torch.testing.assert_close(mine[name][place], value, msg=name)


@pytest.mark.parametrize("refiner", [True, False])
def test_sdxl_begins_from_the_base_in_every_part(base: nn.ModuleDict, tokenizer: CLIPTokenizer, refiner: bool) -> None:
    modules: Any = sdxl.begin(base, tokenizer, refiner)
    assert_holds(modules["unet"], base["unet"])
    assert_holds(modules["text_encoder_2"].text_model, base["text_encoder"])
    assert ("text_encoder" in modules) is not refiner


@pytest.mark.parametrize("refiner", [True, False])
def test_what_calibration_changed_is_carried_over(base: nn.ModuleDict, tokenizer: CLIPTokenizer, refiner: bool) -> None:
    """What was taught, begun from the base, ends where the calibrated base would have begun."""
    after = copy.deepcopy(base)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.mul_(1.5)
    begun: Any = sdxl.begin(base, tokenizer, refiner)
    shifted: Any = calibration.carried_over(begun, sdxl.as_sdxl(base, refiner), sdxl.as_sdxl(after, refiner))
    assert_holds(shifted["unet"], after["unet"])
    assert_holds(shifted["text_encoder_2"].text_model, after["text_encoder"])
    assert_holds(begun["unet"], base["unet"])
    unmoved: Any = calibration.carried_over(begun, sdxl.as_sdxl(base, refiner), sdxl.as_sdxl(after, refiner), 0.0)
    assert_holds(unmoved["unet"], base["unet"])


def test_a_small_change_ships_as_it_is_and_a_large_one_as_the_nearest_product(base: nn.ModuleDict, tmp_path: Path) -> None:
    """What is merged again is the module that was taught, where its change has the rank that ships."""
    unet: Any = base["unet"]
    taught = copy.deepcopy(unet)
    with torch.no_grad():
        for parameter in taught.parameters():
            flat = parameter.reshape(len(parameter), -1)
            flat += 0.01 * torch.outer(torch.randn(len(flat)), torch.randn(flat.shape[1]))
    change = styles.change_of(taught, unet)
    whole = unet.state_dict()
    assert sum(value.numel() for value in change.values()) < 0.5 * sum(value.numel() for value in whole.values())
    save_file({name: value.half().contiguous() for name, value in whole.items()}, tmp_path / "base.safetensors")
    save_file(change, tmp_path / "change.safetensors")
    differences.merge(tmp_path / "base.safetensors", tmp_path / "change.safetensors", tmp_path / "made.safetensors")
    for name, value in load_file(tmp_path / "made.safetensors").items():
        torch.testing.assert_close(value.float(), taught.state_dict()[name], atol=5e-3, rtol=5e-3)


def test_the_movq_begins_with_the_encoder_of_the_vae() -> None:
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    made: Any = movq.new_movq().eval()
    movq.begin_with(made, vae)
    pixels = to_unit(render_pool(range(2)))
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
        torch.testing.assert_close(made.encode(pixels).latents, expected, atol=1e-4, rtol=1e-4)


def test_the_decoder_of_kandinsky_begins_with_the_convolutions_of_the_base(base: nn.ModuleDict) -> None:
    made = kandinsky.new_unet()
    kandinsky.begin_with(made, base["unet"])
    own, given = made.state_dict(), base["unet"].state_dict()
    shared = [name for name in own.keys() & given.keys() if name.endswith("conv1.weight")]
    assert len(shared) > 8
    for name in shared:
        torch.testing.assert_close(own[name], given[name])

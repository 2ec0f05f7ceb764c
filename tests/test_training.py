"""Training: what a member begins from is what it is said to begin from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from nbdiffuse import embedded
from nbdiffuse.embedded.train import calibration, sdxl


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

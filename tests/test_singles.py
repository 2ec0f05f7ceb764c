"""Single files of A1111 and ComfyUI: the same pixels as the directory they were made of, or one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guide
import pytest
import single_file
import torch
from hub import Hub
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from nbdiffuse import embedded
from nbdiffuse.checkpoints import finding, loading
from nbdiffuse.checkpoints.finding import find
from nbdiffuse.errors import CheckpointError
from nbdiffuse.pipelines.pipelines import Pipelines


@pytest.fixture
def single(raw: Callable[[str], Any], tmp_path: Path) -> Path:
    """The embedded base as one file."""
    return single_file.write(raw("StableDiffusionPipeline"), tmp_path / "style.safetensors")


@pytest.fixture
def configs_hub(hub: Hub) -> Hub:
    """A hub where the id that such files go with has the embedded base's configs and weights."""
    hub.add(guide.SD15, embedded.path("sd15"))
    return hub


def pixels(pipeline: Any) -> bytes:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(1)
    images = pipeline("a cat", num_inference_steps=2, height=64, width=64, generator=generator, output_type="np").images
    return bytes(images.tobytes())


def test_a_single_file_makes_the_pixels_of_the_directory(single: Path, configs_hub: Hub, raw: Callable[[str], Any]) -> None:
    mine = Pipelines("cpu").acquire(str(single), "StableDiffusionPipeline", "PNDM")
    assert pixels(mine) == pixels(raw("StableDiffusionPipeline"))
    assert configs_hub.fetched(".safetensors") == [], "only configs and the tokenizer are fetched"


def test_its_identity_holds_its_bytes_and_its_configs(single: Path, configs_hub: Hub) -> None:
    found = find(str(single))
    assert found.identity.endswith(f"+{guide.SD15}@{configs_hub.repos[guide.SD15].commit}") and not found.verified
    state = load_file(single)
    state["model.diffusion_model.out.2.bias"] += 0.5
    save_file(state, single)
    assert find(str(single)).identity != found.identity
    halved = loading.load(find(str(single)), torch.float16)
    assert {tensor.dtype for part in (halved.unet, halved.vae, halved.text_encoder) for tensor in part.parameters()} == {
        torch.float16
    }
    assert finding.weights_bytes(found, 2, True) == 2 * sum(tensor.numel() for tensor in state.values())


def test_configs_beside_a_single_file_need_no_hub(single: Path, raw: Callable[[str], Any]) -> None:
    shutil.copytree(embedded.path("sd15"), single.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    found = find(str(single))
    assert pixels(loading.load(found, torch.float32)) == pixels(raw("StableDiffusionPipeline"))


def test_without_configs_and_without_a_hub_there_is_one_line_with_both_ways_out(
    single: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError) as caught:
        find(str(single))
    line = str(caught.value)
    assert line.startswith(f"{single} is one file and needs the configs of {guide.SD15}.") and "\n" not in line
    assert "Connect (and unset HF_HUB_OFFLINE)" in line and f"put them into {single.with_suffix('')}" in line


def test_a_single_file_in_a_hub_repository_loads_and_is_pinned(single: Path, configs_hub: Hub) -> None:
    repo = configs_hub.add("artist/style", {"v2/style.safetensors": single.read_bytes(), "other.ckpt": b"0"})
    words = (
        "artist/style/v2/style.safetensors",
        f"artist/style/v2/style.safetensors@{repo.commit}",
        "https://huggingface.co/artist/style/blob/main/v2/style.safetensors",
    )
    (identity,) = {find(word).identity for word in words}
    configs = f"{guide.SD15}@{configs_hub.repos[guide.SD15].commit}"
    assert identity == f"artist/style@{repo.commit}/v2/style.safetensors+{configs}"
    assert find(words[0]).verified and "other.ckpt" not in configs_hub.fetched()
    assert type(loading.load(find(words[0]), torch.float32)).__name__ == "StableDiffusionPipeline"


def changed(single: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    state = load_file(single)
    edit(state)
    save_file(state, single)
    return str(single)


def without(head: str) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda state: [state.pop(key) for key in list(state) if key.startswith(head)]


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (without("first_stage_model."), r"is no whole checkpoint: it has no VAE\. Give one with all parts"),
        (without("cond_stage_model."), r"it has no text encoder\."),
        (
            lambda state: (state.clear(), state.update({"lora_unet_down.alpha": torch.zeros(1)})),
            r"it has no UNet and no VAE and no text encoder\. It is a LoRA, which changes a checkpoint and is none\.",
        ),
        (
            lambda state: state["model.diffusion_model.out.2.bias"].fill_(torch.nan),
            r"values that are no numbers in conv_out\.bias",
        ),
        (lambda state: state.pop("model.diffusion_model.out.2.bias"), r"lacks tensors of its UNet or VAE"),
        (lambda state: state.pop("first_stage_model.decoder.conv_in.bias"), r"lacks tensors of its UNet or VAE"),
        (
            lambda state: state.pop("cond_stage_model.transformer.text_model.final_layer_norm.bias"),
            r"lacks tensor final_layer_norm\.bias",
        ),
    ],
)
def test_a_single_file_that_is_not_whole_is_one_line(single: Path, configs_hub: Hub, edit: Any, line: str) -> None:
    with pytest.raises(CheckpointError, match=line) as caught:
        loading.load(find(changed(single, edit)), torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.gguf", "model.bin"])
def test_a_single_file_that_is_no_safetensors_is_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"0")
    with pytest.raises(CheckpointError, match=r"is not read: .*\. Convert it to \.safetensors\.$"):
        find(str(tmp_path / name))


def test_a_component_of_a_directory_is_sent_back_to_it() -> None:
    file = embedded.path("sd15") / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(CheckpointError, match=rf"Give the directory that it is part of: {embedded.path('sd15')}\."):
        find(str(file))


@pytest.mark.parametrize("word", ["style.safetensors", "models/style.safetensors", "/nowhere/style.safetensors"])
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(word: str, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=f"^No checkpoint is called '{word}': no embedded name, no directory, no file"):
        find(word)
    assert hub.log == []


def test_a_damaged_single_file_is_one_line(single: Path, configs_hub: Hub) -> None:
    content = single.read_bytes()
    for damaged in (content[: len(content) // 2], b"\xff" * 8 + content[8:], b""):
        single.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"is damaged") as caught:
            find(str(single))
        assert "\n" not in str(caught.value)

"""A directory of this disk says what it lacks and never asks for the hub; where it can simply run, it runs and says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from nbdiffuse import embedded
from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints.failures import explain_local
from nbdiffuse.checkpoints.layouts import chosen, variant_of
from nbdiffuse.checkpoints.locate import Checkpoint, locate
from nbdiffuse.errors import CheckpointError

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded.path("sd15"), tmp_path / "mine"))


def load(directory: Path) -> Any:
    return loading.load(locate(str(directory)), torch.float32)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "ema", "non_ema"])
def test_weights_that_are_there_as_one_variant_only_are_read_and_said(variant: str, tmp_path: Path) -> None:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant, torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    expected = {name: value.to(dtype).float() for name, value in pipeline.unet.state_dict().items()}
    pipeline.to(dtype=dtype).save_pretrained(tmp_path, variant=variant)
    found = locate(str(tmp_path))
    assert found.notices == (f"{tmp_path} has the weights of text_encoder, unet, vae only as {variant}: these are read.",)
    loaded = load(tmp_path)
    assert all(torch.equal(value, expected[name]) for name, value in loaded.unet.state_dict().items())


def test_what_is_usual_comes_before_any_other_variant(local: Path) -> None:
    file = local / UNET
    before = locate(str(local)).identity
    for variant in ("bf16", "non_ema"):
        shutil.copy(file, file.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    assert locate(str(local)).identity == before and locate(str(local)).notices == ()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("names", "half", "taken"),
    [
        (["model.safetensors", "model.fp16.safetensors"], True, ["model.fp16.safetensors"]),
        (["model.safetensors", "model.bf16.safetensors"], True, ["model.safetensors"]),
        (["pytorch_model.bin", "model.non_ema.safetensors"], False, ["pytorch_model.bin"]),
        (["model.ema.safetensors", "model.non_ema.safetensors"], False, []),
        (["model.bf16.safetensors", "model.non_ema.safetensors"], False, ["model.bf16.safetensors"]),
        (
            [f"model.bf16-0000{n}-of-00002.safetensors" for n in (1, 2)] + ["model.safetensors.index.bf16.json"],
            False,
            [f"model.bf16-0000{n}-of-00002.safetensors" for n in (1, 2)],
        ),
        (["model-00001-of-00002.fp16.safetensors", "model.safetensors.index.json", "model.safetensors"], False, []),
        (["my_unet.safetensors", "model.onnx"], False, []),
    ],
    ids=str,
)
def test_variants_are_chosen_as_diffusers_names_them(names: list[str], half: bool, taken: list[str]) -> None:
    assert chosen(names, half) == taken
    assert variant_of("diffusion_pytorch_model.bf16-00001-of-00002.safetensors") == "bf16"
    assert variant_of("diffusion_pytorch_model-00001-of-00002.safetensors") == ""


@pytest.mark.parametrize("folder", ["safety_checker", "feature_extractor"])
def test_a_deleted_part_that_the_pipeline_runs_without_is_left_out_and_said(folder: str, local: Path) -> None:
    index = json.loads((local / "model_index.json").read_text())
    kinds = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index |= {folder: kinds.get(folder, ["transformers", "CLIPImageProcessor"])}
    (local / "model_index.json").write_text(json.dumps(index))
    assert locate(str(local)).notices == (f"{local} has no {folder}: it runs without.",)
    assert getattr(load(local), folder) is None
    (local / folder).mkdir()
    assert getattr(load(local), folder) is None, "an empty folder is none"


def removed(*names: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        for name in names:
            shutil.rmtree(directory / name) if (directory / name).is_dir() else (directory / name).unlink()

    return change


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda directory: (directory / old).rename(directory / new) and None


def doubled(directory: Path) -> None:
    (directory / UNET).rename(directory / "unet/diffusion_pytorch_model.ema.safetensors")
    shutil.copy(
        directory / "unet/diffusion_pytorch_model.ema.safetensors", directory / "unet/diffusion_pytorch_model.non_ema.safetensors"
    )


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            renamed(UNET, "unet/my_unet.safetensors"),
            r"unet/ of \S+ has no diffusion_pytorch_model\.safetensors; it holds config\.json, my_unet",
        ),
        (
            renamed(TEXT, "text_encoder/clip.safetensors"),
            r"text_encoder/ of \S+ has no model\.safetensors; .* If clip\.safetensors is",
        ),
        (removed(UNET), r"unet/ of \S+ has no weights: no diffusion_pytorch_model\.safetensors; it holds config\.json\. Copy"),
        (removed("unet"), r"mine has no unet/, a UNet2DConditionModel; it holds .*vae\. Copy it from"),
        (removed("tokenizer"), r"mine has no tokenizer/, a CLIPTokenizer; it holds"),
        (removed("scheduler"), r"mine has no scheduler/, a \w+Scheduler; it holds"),
        (removed("scheduler/scheduler_config.json"), r"mine has no scheduler/"),
        (removed("unet/config.json"), r"unet/ of \S+ has no config\.json; it holds diffusion_pytorch_model\.safetensors\. Copy"),
        (
            removed("model_index.json"),
            r"no model_index\.json.* It holds scheduler, text_encoder, unet, vae: copy model_index\.json",
        ),
        (renamed(UNET, "unet/diffusion_pytorch_model-00001-of-00002.safetensors"), r"unet/ of \S+ has (no|its)"),
        (doubled, r"unet/ of \S+ has weights as ema, non_ema and not as diffusion_pytorch_model\.safetensors"),
    ],
)
def test_what_a_directory_lacks_is_one_line_with_what_it_holds(
    change: Callable[[Path], None], line: str, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(local)
    with pytest.raises(CheckpointError, match=line) as caught:
        load(local)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    assert not any(word in text for word in ("hub", "HF_HUB", "Connect", "huggingface"))


def test_tokenizer_files_that_are_gone_are_named(local: Path) -> None:
    for file in (local / "tokenizer").iterdir():
        file.unlink()
    (local / "tokenizer" / "special_tokens_map.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer/ of \S+ has no tokenizer's files; it holds special_tokens_map\.json"):
        load(local)


def test_a_folder_that_is_no_checkpoint_says_what_to_give(local: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"It is a part of \S+/mine: give that directory"):
        locate(str(local / "tokenizer"))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CheckpointError, match=r"It holds nothing\. Give one in diffusers' layout"):
        locate(str(other))
    shutil.copy(local / UNET, other / "dream.safetensors")
    with pytest.raises(CheckpointError, match=r"It holds dream\.safetensors: give one file, such as \S+dream\.safetensors"):
        locate(str(other))


@pytest.mark.quick
def test_a_checkpoint_is_of_this_disk_or_of_the_hub_by_where_its_weights_are() -> None:
    local, hub = (
        Checkpoint("x", Path("x"), f"{'a' * 64}+org/configs@{'b' * 40}", False),
        Checkpoint("x", Path("x"), "org/x@abc", True),
    )
    assert local.is_local and not hub.is_local
    with pytest.raises(CheckpointError, match="Fetch the file and give its path"):
        locate("https://civitai.com/models/4384/dreamshaper")


def test_what_libraries_say_of_the_hub_is_left_out_for_a_directory() -> None:
    said = OSError(
        "Error no file named model.safetensors found in directory /x/unet. If you were trying to load it from "
        "'https://huggingface.co/models', make sure you don't have a local directory with the same name."
    )
    line = explain_local(said, "/x")
    assert (
        "huggingface" not in line and "Connect" not in line and line.startswith("/x cannot be read: OSError: Error no file named")
    )

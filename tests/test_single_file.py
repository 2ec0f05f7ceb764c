"""Single files of A1111 and ComfyUI: the same pixels as the directory they were made of, or one line."""

from __future__ import annotations

import json
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

from nbdiffuse import Recipe, embedded, run
from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints import locate as locate_module
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError
from nbdiffuse.families.hub_ids import MOVED
from nbdiffuse.pipelines.pipelines import Pipelines
from nbdiffuse.runs.program import script_of


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
    found = locate(str(single))
    assert found.identity.endswith(f"+{guide.SD15}@{configs_hub.repos[guide.SD15].commit}") and not found.verified
    state = load_file(single)
    state["model.diffusion_model.out.2.bias"] += 0.5
    save_file(state, single)
    assert locate(str(single)).identity != found.identity
    halved = loading.load(locate(str(single)), torch.float16)
    assert {tensor.dtype for part in (halved.unet, halved.vae, halved.text_encoder) for tensor in part.parameters()} == {
        torch.float16
    }
    assert locate_module.weights_bytes(found, 2, True) == 2 * sum(tensor.numel() for tensor in state.values())


def test_configs_beside_a_single_file_need_no_hub(single: Path, raw: Callable[[str], Any]) -> None:
    shutil.copytree(embedded.path("sd15"), single.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    found = locate(str(single))
    assert pixels(loading.load(found, torch.float32)) == pixels(raw("StableDiffusionPipeline"))


def test_without_configs_and_without_a_hub_there_is_one_line_with_both_ways_out(
    single: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError) as caught:
        locate(str(single))
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
    (identity,) = {locate(word).identity for word in words}
    configs = f"{guide.SD15}@{configs_hub.repos[guide.SD15].commit}"
    assert identity == f"artist/style@{repo.commit}/v2/style.safetensors+{configs}"
    assert locate(words[0]).verified and "other.ckpt" not in configs_hub.fetched()
    assert type(loading.load(locate(words[0]), torch.float32)).__name__ == "StableDiffusionPipeline"


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
        loading.load(locate(changed(single, edit)), torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.gguf", "model.bin"])
def test_a_single_file_that_is_no_safetensors_is_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"0")
    with pytest.raises(CheckpointError, match=r"is not read: .*\. Convert it to \.safetensors\.$"):
        locate(str(tmp_path / name))


def test_a_component_of_a_directory_is_sent_back_to_it() -> None:
    file = embedded.path("sd15") / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(CheckpointError, match=rf"Give the directory that it is part of: {embedded.path('sd15')}\."):
        locate(str(file))


@pytest.mark.parametrize("word", ["style.safetensors", "models/style.safetensors", "/nowhere/style.safetensors"])
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(word: str, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=f"^No checkpoint is called '{word}': no embedded name, no directory, no file"):
        locate(word)
    assert hub.log == []


def test_a_damaged_single_file_is_one_line(single: Path, configs_hub: Hub) -> None:
    content = single.read_bytes()
    for damaged in (content[: len(content) // 2], b"\xff" * 8 + content[8:], b""):
        single.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"is damaged") as caught:
            locate(str(single))
        assert "\n" not in str(caught.value)


SD2_NORM = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


def second(file: Path, metadata: dict[str, str] | None = None, **tensors: torch.Tensor) -> Path:
    """Write a file with the keys and shapes by which SD 2.x is told."""
    unet = "model.diffusion_model.input_blocks."
    state = {
        f"{unet}0.0.weight": torch.zeros(320, 4, 3, 3),
        f"{unet}2.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(2, 1024),
        "first_stage_model.a": torch.zeros(1),
        "cond_stage_model.a": torch.zeros(1),
        **tensors,
    }
    save_file(state, file, metadata)
    return file


SPREAD = torch.tensor([0.2, -0.2] * 8)
SD2: dict[str, tuple[dict[str, str] | None, dict[str, torch.Tensor], str, str]] = {
    "v by its weights": (None, {SD2_NORM: SPREAD}, "2-1", "by its weights the one for 768 pixels, v-prediction"),
    "v in half": (None, {SD2_NORM: SPREAD.half()}, "2-1", "768 pixels"),
    "v in bfloat16": (None, {SD2_NORM: SPREAD.bfloat16()}, "2-1", "768 pixels"),
    "base by its weights": (None, {SD2_NORM: SPREAD / 10}, "2-1-base", "by its weights the one for 512 pixels, epsilon"),
    "base in bfloat16": (None, {SD2_NORM: SPREAD.bfloat16() / 10}, "2-1-base", "512 pixels"),
    "base by its metadata": ({"modelspec.architecture": "stable-diffusion-v2-512"}, {SD2_NORM: SPREAD}, "2-1-base", ""),
    "epsilon by its metadata": ({"modelspec.prediction_type": "epsilon"}, {}, "2-1-base", ""),
    "v by its metadata": ({"modelspec.prediction_type": "v"}, {}, "2-1", "prediction_type='v_prediction'"),
    "no way to tell": (None, {}, "2-1", "does not tell whether for 512 or 768 pixels; 768 is taken"),
}


@pytest.mark.parametrize("case", SD2)
def test_sd_2_for_512_and_for_768_pixels_are_told_apart_and_that_is_said(case: str, tmp_path: Path, hub: Hub) -> None:
    metadata, tensors, ending, line = SD2[case]
    repo = f"sd2-community/stable-diffusion-{ending}"
    hub.add(repo, embedded.path("sd15"))
    file = second(tmp_path / "second.safetensors", metadata, **tensors)
    found = locate(str(file))
    assert found.identity.split("+")[1].startswith(f"{repo}@")
    assert line in " ".join(found.notices) and (line or not found.notices)


def test_a_directory_beside_it_decides_what_an_sd_2_file_is(tmp_path: Path, hub: Hub) -> None:
    file = second(tmp_path / "second.safetensors")
    shutil.copytree(embedded.path("sd15"), file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    assert locate(str(file)).notices == () and hub.log == []


@pytest.mark.parametrize("gone", sorted(MOVED))
def test_ids_that_are_gone_lead_to_where_the_weights_are_now(gone: str, hub: Hub) -> None:
    hub.add(MOVED[gone], embedded.path("sd15"))
    found = locate(gone)
    assert found.identity.startswith(f"{MOVED[gone]}@") and found.notices == (f"{gone} has moved to {MOVED[gone]}.",)


@pytest.mark.parametrize(
    ("marks", "settings"),
    [
        (("v_pred",), {"prediction_type": "v_prediction"}),
        (("v_pred", "ztsnr"), {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    ],
)
def test_marks_in_a_single_file_set_how_it_is_sampled(
    marks: tuple[str, ...], settings: dict[str, Any], single: Path, raw: Callable[[str], Any], tmp_path: Path, scene: Any
) -> None:
    from diffusers import EulerDiscreteScheduler

    configs = single.with_suffix("")
    shutil.copytree(embedded.path("sd15"), configs, ignore=shutil.ignore_patterns("*.safetensors"))
    # As the configs of SDXL do, these name Euler.
    index = json.loads((configs / "model_index.json").read_text())
    (configs / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "EulerDiscreteScheduler"]}))
    changed(single, lambda state: state.update({mark: torch.zeros(0) for mark in marks}))
    arguments: dict[str, Any] = {"num_inference_steps": 4, "strength": 0.75, "image": scene.image}
    recipe = Recipe(prompt="a cat", model="sd15", checkpoint=str(single), seed=1, width=128, height=128, **arguments)
    mine = run(recipe)
    assert mine.recipe.scheduler == "EulerDiscrete"
    shown = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    assert mine.notices == (f"style.safetensors says how it is sampled, by its tensors {' and '.join(marks)}: {shown}.",)

    pipeline = raw("StableDiffusionImg2ImgPipeline")
    own = pipeline.scheduler
    pipeline.scheduler = EulerDiscreteScheduler.from_config(own.config, **settings)
    theirs = pipeline("a cat", generator=torch.Generator("cpu").manual_seed(1), **arguments).images[0]
    pipeline.scheduler = own
    assert mine.image.tobytes() == theirs.tobytes()

    line = 'EulerDiscreteScheduler.from_config(pipeline.scheduler.config,prediction_type="v_prediction"'
    assert line in "".join(script_of(mine).text.split())
    named = run(recipe.replace(scheduler="HeunDiscrete"))
    assert ("rescale_betas_zero_snr=True, which HeunDiscrete" in " ".join(named.notices)) == ("ztsnr" in marks)


def test_a_file_made_for_edm_sampling_is_refused_in_one_line(single: Path, configs_hub: Hub) -> None:
    file = changed(single, lambda state: state.update({"edm_vpred.sigma_max": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"is made for EDM sampling, by its tensors, which is not taken\."):
        locate(file)

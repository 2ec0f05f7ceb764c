"""LoRA beside the weights: the pixels are those of diffusers' `set_adapters`, and another scale loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import adapter_files
import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from nbdiffuse import Recipe, Session, embedded, resolve, sweep
from nbdiffuse.checkpoints import loading
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes import lora
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import check

PROMPT = "a fox in snow"
LINEAR, CONV = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", "down_blocks_1_resnets_0_conv1"
TEXT = "text_model_encoder_layers_0_mlp_fc1"


def drawn(unet: Any, text: Any, seed: int, alpha: float) -> dict[str, torch.Tensor]:
    """Return a LoRA with drawn values in kohya's names: a linear layer, a convolution, and one of the text encoder."""
    draw = torch.Generator().manual_seed(seed)
    named = {f"lora_unet_{LINEAR}": (unet, LINEAR), f"lora_unet_{CONV}": (unet, CONV), f"lora_te_{TEXT}": (text, TEXT)}
    state: dict[str, torch.Tensor] = {}
    for called, (model, end) in named.items():
        weight = next(
            one.weight
            for name, one in model.named_modules()
            if name.replace(".", "_").removeprefix("text_model_") == end.removeprefix("text_model_")
        )
        out, into, *kernel = weight.shape
        state[f"{called}.lora_down.weight"] = 0.3 * torch.randn(3, into, *kernel, generator=draw)
        state[f"{called}.lora_up.weight"] = 0.3 * torch.randn(out, 3, *[1] * len(kernel), generator=draw)
        state[f"{called}.alpha"] = torch.tensor(alpha)
    return state


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unfused")
    base = diffusers.StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    for seed, (name, alpha) in enumerate((("ink", 2.0), ("fog", 3.0))):
        save_file(drawn(base.unet, base.text_encoder, seed, alpha), folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=3, seed=7)


def by_hand(scene: Any, files: Path, adapters: dict[str, Any], fused: str = "") -> bytes:
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    if fused:
        pipeline.load_lora_weights(str(files), weight_name=f"{fused}.safetensors")
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    for name in adapters:
        pipeline.load_lora_weights(str(files), weight_name=f"{name}.safetensors", adapter_name=name)
    if adapters:
        pipeline.set_adapters([*adapters], [*adapters.values()])
    generator = torch.Generator("cpu").manual_seed(7)
    return pipeline(PROMPT, image=scene.image, num_inference_steps=3, generator=generator).images[0].tobytes()


ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("ink.safetensors:unfused", {"ink": 1.0}, ""),
    ("ink.safetensors:0.7:unfused", {"ink": 0.7}, ""),
    ("ink.safetensors:0.7:text_encoder=-0.4:unfused", {"ink": {"unet": 0.7, "text_encoder": -0.4}}, ""),
    ("ink.safetensors:0.7:unfused + fog.safetensors:-0.5:unfused", {"ink": 0.7, "fog": -0.5}, ""),
    ("ink.safetensors:0.7:unfused + fog.safetensors", {"ink": 0.7}, "fog"),
]


@pytest.mark.parametrize(("text", "adapters", "fused"), ROWS, ids=[row[0] for row in ROWS])
def test_pixels_equal_those_of_set_adapters(
    text: str, adapters: dict[str, Any], fused: str, files: Path, recipe: Recipe, session: Session, scene: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(files)
    made = session.run(recipe.replace(lora=text))
    assert made.image.tobytes() == by_hand(scene, files, adapters, fused)
    assert made.fingerprint["lora"] and Recipe.from_json(made.recipe.to_json()) == made.recipe
    assert lora.text_of(lora.read(text)) == text
    assert repr(check(script_of(made), made.images)) == "same pixels"


def test_other_scales_load_nothing_and_the_base_stays(
    files: Path, recipe: Recipe, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.run(recipe)
    first = session.run(recipe.replace(lora=f"{files}/ink.safetensors:0.2:unfused"))
    monkeypatch.setattr(loading, "load", lambda *given: pytest.fail("a checkpoint was loaded"))
    grid = sweep(
        recipe.replace(lora=f"{files}/ink.safetensors:unfused"), lora_scale=[0.2, 0.7, 0.0], lora_text_encoder_scale=[0.0]
    ).run()
    assert len({one.image.tobytes() for one in grid}) == 3
    assert grid[2].image.tobytes() == session.run(recipe).image.tobytes() == before.image.tobytes() == by_hand(scene, files, {})
    assert first.fingerprint["checkpoint"] == before.fingerprint["checkpoint"]


def test_it_stands_beside_ip_adapters_words_and_weighted_prompts(
    files: Path, recipe: Recipe, session: Session, tmp_path: Path, scene: Any
) -> None:
    adapter_files.write_embeddings(tmp_path / "words")
    adapter_files.write_ip_adapters(tmp_path)
    brought = recipe.replace(
        embedding=str(tmp_path / "words" / "mist.safetensors"),
        ip_adapter=str(tmp_path / "sd15" / "plain.safetensors"),
        ip_adapter_image=scene.image,
        prompt="a mist fox",
    )
    plain = session.run(brought)
    added = session.run(brought.replace(lora=f"{files}/ink.safetensors:unfused"))
    by_unet = session.run(brought.replace(lora=f"{files}/ink.safetensors:text_encoder=0:unfused"))
    assert len({one.image.tobytes() for one in (plain, added, by_unet)}) == 3
    assert session.run(brought).image.tobytes() == plain.image.tobytes()
    assert repr(check(script_of(added), added.images)) == "same pixels"
    heavy = brought.replace(weighting="compel", prompt="a fox++")
    weighted = [session.run(heavy.replace(lora=text)) for text in (None, f"{files}/ink.safetensors:0:text_encoder=1:unfused")]
    assert weighted[0].image.tobytes() != weighted[1].image.tobytes()


def test_a_true_switch_is_what_was_there_anyway(files: Path, recipe: Recipe) -> None:
    fused = recipe.replace(lora=f"{files}/ink.safetensors", lora_fused=True)
    assert fused == recipe.replace(lora=f"{files}/ink.safetensors")
    assert recipe.replace(lora=f"{files}/ink.safetensors", lora_fused=False).loras[0].fused is False


def test_what_does_not_fit_is_one_line(files: Path, recipe: Recipe, session: Session, tmp_path: Path) -> None:
    state = load_file(files / "ink.safetensors")
    key = f"lora_unet_{LINEAR}"
    bad = {
        "holds LoHa, LoKr, DoRA": {**state, f"{key}.dora_scale": torch.ones(4, 1)},
        "is not there": {**state, "lora_unet_nowhere.lora_down.weight": torch.ones(2, 2)},
        "lacks one of the two": {name: one for name, one in state.items() if name != f"{key}.lora_up.weight"},
        "has the shape": {**state, f"{key}.lora_up.weight": torch.ones(7, 3)},
    }
    for line, tensors in bad.items():
        save_file(tensors, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointError, match=line) as caught:
            session.run(recipe.replace(lora=f"{tmp_path}/bad.safetensors:unfused"))
        assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="a file with a weight in"):
        resolve(recipe.replace(lora="ink.safetensors:unfuse"))

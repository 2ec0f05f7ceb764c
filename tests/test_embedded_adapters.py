"""Adapters that come with this package: each is called by its name, on every surface, and changes what it is to change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from transformers import CLIPVisionModelWithProjection

import nbdiffuse
from nbdiffuse import Recipe, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.embedded import recogniser, shared_weights
from nbdiffuse.embedded.world.edits import graded
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes import lora
from nbdiffuse.recipes.portable import portable
from nbdiffuse.runs import consent
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check

pytestmark = pytest.mark.quick


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a cat in the snow", image=scene.image, model="sd15", lora="lcm-lora", seed=3)


def test_every_adapter_has_a_file_whose_hash_is_known() -> None:
    assert "lcm-lora" in embedded.adapter_names() and not set(embedded.adapter_names()) & set(embedded.names())
    for name in embedded.adapter_names():
        assert embedded.adapter_file(name).suffix == ".safetensors" and embedded.holds(name)
        assert shared_weights.files(name)
    with pytest.raises(CheckpointError, match=r"No embedded adapter is called 'lcm-lore'\. Did you mean 'lcm-lora'"):
        embedded.adapter_file("lcm-lore")


def test_one_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = Path(shutil.copytree(shared_weights.CHECKPOINTS / "lcm-lora", tmp_path / "lcm-lora"))
    shutil.copy(shared_weights.CHECKPOINTS / "manifest.json", tmp_path)
    monkeypatch.setattr(shared_weights, "CHECKPOINTS", tmp_path)
    shared_weights.files.cache_clear()
    try:
        assert embedded.adapter_file("lcm-lora").parent == held
        (held / "pytorch_lora_weights.safetensors").write_bytes(b"something else")
        with pytest.raises(CheckpointError, match="differs from the file that was shipped"):
            embedded.adapter_file("lcm-lora")
    finally:
        shared_weights.files.cache_clear()


def test_four_steps_are_what_the_raw_call_makes_of_it(recipe: Recipe, scene: Any) -> None:
    result = nbdiffuse.run(recipe.replace(strength=1.0))
    made = result.recipe
    assert (made.num_inference_steps, made.guidance_scale, made.scheduler) == (4, 1.5, "LCM")
    raw = StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    raw.load_lora_weights(str(embedded.adapter_file("lcm-lora").parent))
    raw.fuse_lora()
    raw.unload_lora_weights()
    raw.scheduler = LCMScheduler.from_config(raw.scheduler.config)
    picture = raw(
        "a cat in the snow",
        image=scene.image,
        strength=1.0,
        num_inference_steps=4,
        guidance_scale=1.5,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert result.image.tobytes() == picture.tobytes()


def test_a_cell_a_prompt_a_file_and_a_stranger_know_it_by_its_name(recipe: Recipe, tmp_path: Path) -> None:
    complete = resolve(recipe)
    assert complete.loras == lora.read("lcm-lora") and portable(complete).loras == complete.loras
    head, _, body = cell_text(recipe, {"image": "start"}).partition("\n")
    assert parse_cell("img2img", head.partition(" ")[2], body).values["lora"] == "lcm-lora"
    assert [one.file for one in resolve(recipe.replace(lora=None, prompt="a cat <lora:lcm-lora:0.9>")).loras] == ["lcm-lora"]
    with consent.ask([complete], yes=False):
        pass
    with pytest.raises(ParameterError, match=r"`lora` must be a \.safetensors file"):
        recipe.replace(lora="lcm-lore")


@pytest.fixture
def looking(scene: Any) -> Recipe:
    picture = graded(scene.image, "warm vivid")
    return Recipe(prompt="a cat in the snow", model="sd15", ip_adapter="ip-adapter", ip_adapter_image=picture, seed=3)


def test_the_ip_adapter_takes_the_palette_of_a_picture(looking: Recipe, scene: Any) -> None:
    drawn = looking.replace(num_inference_steps=25, ip_adapter_scale=0.8)
    cold = drawn.replace(ip_adapter_image=graded(scene.image, "cold vivid"))
    pictures = [nbdiffuse.run(one).image for one in (drawn, cold)]
    named = recogniser.load().recognise(pictures)
    assert [one["palette"] for one in named] == ["warm vivid", "cold vivid"]
    assert {one["subject"] for one in named} == {"cat"}


def test_the_ip_adapter_is_what_the_raw_call_makes_of_it(looking: Recipe) -> None:
    result = nbdiffuse.run(looking.replace(num_inference_steps=3, ip_adapter_scale=0.7))
    file = embedded.adapter_file("ip-adapter")
    encoder = CLIPVisionModelWithProjection.from_pretrained(embedded.image_encoder())
    raw = StableDiffusionPipeline.from_pretrained(embedded.path("sd15"), image_encoder=encoder)
    raw.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name)
    raw.set_ip_adapter_scale(0.7)
    picture = raw(
        "a cat in the snow",
        ip_adapter_image=looking.ip_adapters[0].image.image,
        num_inference_steps=3,
        width=128,
        height=128,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert result.image.tobytes() == picture.tobytes()


def test_the_program_has_the_ip_adapter(looking: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nbdiffuse.run(looking.replace(num_inference_steps=3))
    script = script_of(result)
    assert 'checkpoints / "ip-adapter"' in script.text and 'checkpoints / "kandinsky22" / "prior_image_encoder"' in script.text
    assert check(script, list(result.images)).line == SAME


def test_the_program_gives_the_same_pixels(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nbdiffuse.run(recipe)
    script = script_of(result)
    assert 'checkpoints / "lcm-lora"' in script.text
    assert check(script, list(result.images)).line == SAME

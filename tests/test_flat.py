"""Tools that write one value under each name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import strangers

from nbdiffuse import read, resolve
from nbdiffuse.metadata import flat
from nbdiffuse.metadata.invokeai import parse_dream
from nbdiffuse.recipes import prompt_loras
from nbdiffuse.recipes.lora import text_of

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", strangers.FLAT)
def test_the_essentials_are_carried_over(tmp_path: Path, name: str) -> None:
    tool, chunks = strangers.FLAT[name]
    reading = read(strangers.png(tmp_path / "a.png", **chunks))
    recipe = reading.recipe
    assert reading.tool == tool and not reading.starts_from_picture
    assert (recipe.prompt, recipe.negative_prompt) == ("a red boat", "fog")
    assert (recipe.num_inference_steps, recipe.guidance_scale, recipe.seed) == (20, 7, 42)
    assert resolve(recipe).prompt == "a red boat"
    assert (recipe.width, recipe.height) in ((512, 768), (1024, 1024), (1152, 896), (832, 1216), (768, 1152))


@pytest.mark.parametrize(
    ("name", "model", "scheduler", "said"),
    [
        ("swarm", "sdxl", "EulerDiscrete", ["sd_xl_base_1.0", "ink:0.8", "<lora:none:0.5>"]),
        ("ruined", "sdxl", "DPMSolverMultistep", ["juggernautXL", "aeb7e9e689", "ink.safetensors:0.8", "clip_skip"]),
        ("easy", "sd15", "EulerAncestralDiscrete", ["sd-v1-4"]),
        ("easy older", "sd15", "EulerAncestralDiscrete", ["sd-v1-4"]),
        ("novelai", "sdxl", "EulerAncestralDiscrete", ["Stable Diffusion XL C1E1DE52"]),
        ("tensor", "sd15", "EulerAncestralDiscrete", ["dreamshaper_8", "clipSkip", "models"]),
        ("dream", "sd15", "EulerAncestralDiscrete", []),
    ],
)
def test_the_model_is_told_and_all_else_is_said(tmp_path: Path, name: str, model: str, scheduler: str, said: list[str]) -> None:
    reading = read(strangers.png(tmp_path / "a.png", **strangers.FLAT[name][1]))
    assert (reading.recipe.model, reading.recipe.scheduler) == (model, scheduler)
    assert reading.recipe.get("use_karras_sigmas") is (True if name in ("swarm", "ruined") else None)
    for word in said:
        assert any(word in line for line in reading.left_out), word
    assert len(reading.left_out) <= len(said) + 1


@pytest.mark.parametrize("name", ["swarm", "ruined", "novelai", "tensor"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_the_same_json_is_read_from_a_comment(tmp_path: Path, name: str, suffix: str) -> None:
    chunks: dict[str, Any] = strangers.FLAT[name][1]
    text = json.dumps(chunks) if name == "novelai" else next(iter(chunks.values()))
    reading = read(strangers.jpeg(tmp_path / f"a{suffix}", text))
    assert (reading.tool, reading.recipe.prompt, reading.recipe.seed) == (strangers.FLAT[name][0], "a red boat", 42)


def test_a_lora_whose_file_is_here_is_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ink.safetensors").touch()
    monkeypatch.setenv(prompt_loras.FOLDER, str(tmp_path))
    for name in ("swarm", "ruined"):
        reading = read(strangers.png(tmp_path / "a.png", **strangers.FLAT[name][1]))
        assert text_of(reading.recipe.loras) == f"{tmp_path / 'ink.safetensors'}:0.8"


def test_a_redrawn_picture_of_each_tool_asks_for_its_picture(tmp_path: Path) -> None:
    swarm = {"sui_image_params": {**strangers.SWARM["sui_image_params"], "initimagecreativity": 0.6}}
    comment = {**json.loads(strangers.NOVELAI["Comment"]), "request_type": "Img2ImgRequest", "strength": 0.6}
    for chunks in (
        {"parameters": json.dumps(swarm)},
        {"parameters": json.dumps({**strangers.RUINED, "denoise": 0.6})},
        {"parameters": json.dumps({**strangers.DRAW_THINGS, "strength": 0.6})},
        {**strangers.EASY, "prompt_strength": "0.6"},
        {**strangers.NOVELAI, "Comment": json.dumps(comment)},
        {"Dream": strangers.DREAM + " -f 0.6 -I my photo.png"},
    ):
        reading = read(strangers.png(tmp_path / "a.png", **chunks))
        assert reading.recipe.strength == 0.6 and reading.starts_from_picture, reading.tool


def test_json_that_is_a_prompt_stays_one() -> None:
    for text in ('{"a cat": 1}', '{"prompt": {"1": {}}}', "{a|b} boat", '{"prompt": "a cat"}', "{", "[1]"):
        assert flat.record(text) is None


def test_a_command_with_quotation_marks_and_brackets_is_read_whole() -> None:
    parsed = parse_dream('"a \\"red\\" boat [fog] at sea [rain]" -s50 -S 1 -U 2 0.75 --seamless -G0.8')
    assert (parsed.values["prompt"], parsed.values["negative_prompt"]) == ('a "red" boat at sea', "fog, rain")
    assert (parsed.values["num_inference_steps"], parsed.values["seed"]) == (50, 1)
    assert [line.partition(": ")[2] for line in parsed.left_out] == ["-U: '2 0.75'.", "--seamless: ''.", "-G: '0.8'."]

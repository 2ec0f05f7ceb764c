"""Families whose weights do not come with the package: each runs as diffusers runs it, seen step by step and stopped at will."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_families
import torch
from family_cases import CASES, FLOWS, MODES, PROMPT, REDRAWING, by_hand, given, recipe_of
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

import nbdiffuse
from nbdiffuse import resolve
from nbdiffuse.devices.steps import StepHook
from nbdiffuse.engine import progress
from nbdiffuse.engine.progress import Progress
from nbdiffuse.errors import CheckpointError, Interrupted, ParameterError
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes.presets import preset_of
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.results import Result
from nbdiffuse.runs.latent_transfer import LATENTS
from nbdiffuse.runs.program import script_of
from nbdiffuse.sessions.session import Session


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.fixture(scope="module")
def run(own: Session, family_checkpoints: Path) -> Callable[..., Result]:
    """Return a function that runs a case once and keeps what it made."""
    made: dict[tuple[str, str], Result] = {}

    def make(name: str, mode: str) -> Result:
        if (name, mode) not in made:
            made[name, mode] = own.run(recipe_of(name, mode, family_checkpoints))
        return made[name, mode]

    return make


@pytest.mark.parametrize("name, mode", MODES)
def test_pixels_equal_the_raw_call(name: str, mode: str, run: Callable[..., Result], family_checkpoints: Path) -> None:
    result = run(name, mode)
    pipeline, images = by_hand(name, mode, family_checkpoints)
    assert result.fingerprint["pipeline"] == type(pipeline).__name__
    assert result.image.size == CASES[name].size == (result.recipe.width, result.recipe.height)
    assert result.image.tobytes() == images[0].tobytes()
    assert np.asarray(result.image).std() > 1


@pytest.mark.parametrize("name", REDRAWING)
def test_with_nothing_said_pixels_equal_those_of_the_pipelines_own_defaults(
    name: str, own: Session, family_checkpoints: Path
) -> None:
    # Without its number a union ControlNet does not know what its picture is.
    bare = dict.fromkeys(CASES[name].values.keys() - {"control_mode"})
    result = own.run(recipe_of(name, "img2img", family_checkpoints, **bare))
    kept = {field: value for field, value in CASES[name].values.items() if field not in bare}
    _, images = by_hand(name, "img2img", family_checkpoints, bare=True, **kept)
    assert result.image.tobytes() == images[0].tobytes()


@pytest.mark.parametrize("name, mode", MODES)
def test_the_program_gives_the_same_pixels(
    name: str, mode: str, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(name, mode)
    script = script_of(result)
    assert f"{CASES[name].modes[mode]}.from_pretrained" in script.text and "scheduler" not in script.text
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == result.image.tobytes()


@pytest.mark.parametrize("name, mode", MODES)
def test_a_saved_picture_says_the_same_recipe(name: str, mode: str, run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(name, mode)
    found = image_files.read(result.save(tmp_path / "it.png")).provenance
    # Of a directory no more than its name leaves this machine.
    assert found is not None and Path(str(found.recipe.checkpoint)).name == (CASES[name].checkpoint or name)
    paths = {field: result.recipe.get(field) for field in ("checkpoint", "controlnet") if result.recipe.get(field)}
    assert found.recipe.replace(**paths) == result.recipe
    assert found.fingerprint["pipeline"] == result.fingerprint["pipeline"]


@pytest.mark.parametrize("name, mode", MODES)
def test_each_step_is_seen_and_a_stop_changes_nothing(
    name: str, mode: str, run: Callable[..., Result], own: Session, family_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PREVIEW_INTERVAL", 0)
    before, seen = run(name, mode), list[Progress]()
    recipe = recipe_of(name, mode, family_checkpoints)
    submitted = threading.Event()
    job = own.submit(recipe.replace(num_inference_steps=8), lambda step: submitted.wait() and job.stop())
    submitted.set()
    with pytest.raises(Interrupted):
        job.result()
    assert own.run(recipe, seen.append).image.tobytes() == before.image.tobytes()
    count = real_steps(before.recipe)
    assert [(step.step, step.steps) for step in seen] == [(number, count) for number in range(1, count + 1)]
    sides = [step.preview.size if step.preview else None for step in seen[:-1]]
    width, height = CASES[name].size
    assert sides == [(width // 8, height // 8) if CASES[name].previews else None] * (count - 1)


@pytest.mark.parametrize("name", FLOWS)
def test_what_a_preview_shows_is_where_the_step_is_headed(name: str, family_checkpoints: Path) -> None:
    pipeline = getattr(diffusers, CASES[name].modes["img2img"]).from_pretrained(tiny_families.write(name, family_checkpoints))
    pipeline.set_progress_bar_config(disable=True)
    width, height = CASES[name].size
    estimates: list[tuple[torch.Tensor | None, torch.Tensor]] = []
    with StepHook(pipeline.scheduler, lambda step: estimates.append((step.clean(), step.latents))):
        pipeline(prompt=PROMPT, width=width, height=height, num_inference_steps=4, **given(name, "img2img"))
    clean, latents = estimates[-1]
    assert clean is not None
    torch.testing.assert_close(clean, latents)
    assert not torch.allclose(estimates[0][0], estimates[0][1])


@pytest.mark.parametrize("name", [name for name in REDRAWING if not CASES[name].net])
def test_latents_go_on_as_by_hand_or_are_not_kept(
    name: str, run: Callable[..., Result], own: Session, family_checkpoints: Path
) -> None:
    case, (width, height) = CASES[name], CASES[name].size
    first = run(name, "txt2img")
    assert (first.latents is not None) == case.latents
    if first.latents is None:
        with pytest.raises(ParameterError, match="`image` must be a picture"):
            resolve(recipe_of(name, "img2img", family_checkpoints, image=run("flux-dev", "txt2img").latents))
        return
    pipeline, latents = by_hand(name, "txt2img", family_checkpoints, output_type="latent")
    if preset_of(first.recipe.model).packed:
        latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    second = own.run(recipe_of(name, "img2img", family_checkpoints, image=first.latents))
    _, images = by_hand(name, "img2img", family_checkpoints, image=latents)
    assert second.image.tobytes() == images[0].tobytes()


@pytest.mark.parametrize("name", REDRAWING)
def test_recipes_of_one_batch_are_those_that_run_alone(name: str, own: Session, family_checkpoints: Path) -> None:
    recipes = [recipe_of(name, "img2img", family_checkpoints, strength=strength, seed=5) for strength in (0.5, 0.7)]
    made: dict[int, Any] = {}
    own.submit_batch(recipes, lambda *seen: None, made.__setitem__).result()
    for index, recipe in enumerate(recipes):
        alone = np.asarray(own.run(recipe).image, np.int16)
        # Where model calls are joined, sums are rounded in another order.
        assert np.abs(np.asarray(made[index].image, np.int16) - alone).max() <= 2


@pytest.mark.parametrize("name", REDRAWING)
def test_the_program_of_a_chain_gives_the_same_pixels(
    name: str, family_checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (recipe_of(name, mode, family_checkpoints) for mode in ("txt2img", "img2img"))
    made = nbdiffuse.run(first >> second.replace(image=None))
    assert (made.arrows == [LATENTS]) == CASES[name].latents
    script = script_of(made)
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == made.image.tobytes()


def write_lora(name: str, family_checkpoints: Path, folder: Path) -> Path:
    """Write a LoRA of drawn values for a checkpoint's denoiser, as diffusers saves one."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_families.write(name, family_checkpoints))
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    torch.manual_seed(1)
    denoiser = getattr(pipeline, part)
    denoiser.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_k"]))
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(denoiser)}
    pipeline.save_lora_weights(folder, weight_name=f"{name}.safetensors", **layers)
    return folder / f"{name}.safetensors"


@pytest.mark.parametrize("name", [*FLOWS, "lcm"])
def test_a_lora_is_added_as_diffusers_adds_it(
    name: str, run: Callable[..., Result], own: Session, family_checkpoints: Path, tmp_path: Path
) -> None:
    file = write_lora(name, family_checkpoints, tmp_path)
    result = own.run(recipe_of(name, "img2img", family_checkpoints, lora=f"{file}:0.7"))

    def add(pipeline: Any) -> None:
        pipeline.load_lora_weights(str(file))
        pipeline.fuse_lora(lora_scale=0.7)
        pipeline.unload_lora_weights()

    _, images = by_hand(name, "img2img", family_checkpoints, add)
    assert result.image.tobytes() == images[0].tobytes() != run(name, "img2img").image.tobytes()


@pytest.mark.parametrize("name", ["sd", "sd-inpainting", "sd-controlnet", "sdxl-controlnet"])
def test_inpainting_takes_a_lora_and_crops_around_the_mask(
    name: str, run: Callable[..., Result], own: Session, family_checkpoints: Path, tmp_path: Path
) -> None:
    file = write_lora(CASES[name].checkpoint or name, family_checkpoints, tmp_path)
    result = own.run(recipe_of(name, "inpaint", family_checkpoints, lora=str(file), mask_crop=8))

    def add(pipeline: Any) -> None:
        pipeline.load_lora_weights(str(file))
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()

    _, images = by_hand(name, "inpaint", family_checkpoints, add, padding_mask_crop=8)
    assert result.image.tobytes() == images[0].tobytes() != run(name, "inpaint").image.tobytes()


def test_a_lora_of_another_family_is_one_line(own: Session, family_checkpoints: Path, tmp_path: Path) -> None:
    for name, other in (("flux-dev", "lcm"), ("lcm", "flux-dev"), ("qwenimage", "flux-dev"), ("flux-dev", "qwenimage")):
        file = write_lora(other, family_checkpoints, tmp_path)
        with pytest.raises(CheckpointError, match=rf"^The LoRA {other}\.safetensors does not fit .*\.$"):
            own.run(recipe_of(name, "img2img", family_checkpoints, lora=str(file)))

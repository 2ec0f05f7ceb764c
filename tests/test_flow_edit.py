"""Flux Kontext and Flux 2 Klein: editing without a strength, at the picture's own size, as diffusers does where it is told so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_families
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.cells.options import help_text, parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.engine.engine import Engine
from nbdiffuse.errors import Interrupted, ParameterError
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check

START = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
INSTRUCTION = "put it in the snow"


@pytest.fixture(scope="module")
def checkpoint(family_checkpoints: Path) -> Path:
    return tiny_families.write("flux-kontext", family_checkpoints)


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.fixture
def recipe(checkpoint: Path) -> Recipe:
    return Recipe(prompt=INSTRUCTION, model=str(checkpoint), image=START, num_inference_steps=3, seed=3)


def by_hand(checkpoint: Path, image: Any = START, **call: Any) -> Any:
    pipeline = diffusers.FluxKontextPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    size = {"width": 96, "height": 64, "max_area": 96 * 64, "_auto_resize": False}
    generator = torch.Generator("cpu").manual_seed(3)
    made = pipeline(image=image, prompt=INSTRUCTION, num_inference_steps=3, generator=generator, **size, **call).images
    if call.get("output_type") != "latent":
        return made[0]
    return pipeline._unpack_latents(made, 64, 96, pipeline.vae_scale_factor)


@pytest.mark.parametrize(
    "call",
    [{}, {"guidance_scale": 5.0}, {"negative_prompt": "night", "true_cfg_scale": 3.0}, {"max_sequence_length": 64}],
    ids=str,
)
def test_the_pixels_and_the_size_are_those_of_the_raw_call(
    call: dict[str, Any], recipe: Recipe, checkpoint: Path, own: Session
) -> None:
    made = own.run(recipe.replace(**call))
    assert made.image.size == START.size
    assert made.image.tobytes() == by_hand(checkpoint, **call).tobytes()
    other = own.run(recipe.replace(**call, image=START.transpose(Image.Transpose.ROTATE_180)))
    assert other.image.tobytes() != made.image.tobytes()


def test_steps_are_counted_and_previews_are_pictures(recipe: Recipe, own: Session) -> None:
    seen: list[Any] = []
    whole = own.submit(resolve(recipe), seen.append).result()
    assert [(one.step, one.steps) for one in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0].preview is not None and seen[0].preview.size == (12, 8)
    stop = threading.Event()
    engine = own.with_pipelines(Engine)
    with pytest.raises(Interrupted):
        engine.run(resolve(recipe.replace(seed=4)), lambda progress: stop.set(), stop)
    assert own.run(recipe).image.tobytes() == whole.image.tobytes()


def test_latents_of_a_result_go_on_as_the_raw_calls_do(recipe: Recipe, checkpoint: Path, own: Session) -> None:
    first = own.run(recipe)
    second = own.run(recipe.replace(image=first.latents))
    assert second.image.tobytes() == by_hand(checkpoint, by_hand(checkpoint, output_type="latent")).tobytes()


def test_the_program_gives_the_same_pixels(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nbdiffuse.run(recipe)
    script = script_of(result)
    assert "max_area=6144" in script.text and "_auto_resize=False" in script.text and "strength" not in script.text
    assert check(script, list(result.images)).line == SAME


def test_strength_and_the_area_are_refused_in_a_line(recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"it edits and has none\. Leave it out, and say in the prompt what is to stay"):
        resolve(recipe.replace(strength=0.5))
    with pytest.raises(ParameterError, match="'max_area' is not a parameter"):
        recipe.replace(max_area=4096)
    with pytest.raises(ParameterError, match="`image_guidance_scale` is not taken by flux-kontext"):
        resolve(recipe.replace(image_guidance_scale=2))
    with pytest.raises(ParameterError, match=r"Flux Kontext only edits pictures\. Use %%edit"):
        resolve(recipe.replace(image=None))


def test_a_cell_edits_with_it(recipe: Recipe, checkpoint: Path) -> None:
    asked = recipe.replace(model="flux-kontext", checkpoint=str(checkpoint))
    text = cell_text(asked, {"image": "room"})
    assert text.startswith("%%edit room --model flux-kontext ")
    head, body = text.split("\n", 1)
    assert parse_cell("edit", head.removeprefix("%%edit "), body).values == {**asked.values(), "image": "room"}
    assert "flux-kontext" in help_text("edit") and "--true-cfg-scale" in help_text("edit")
    assert resolve(recipe).model == "flux-kontext" and np.array_equal(START, recipe.image.image)


@pytest.fixture(scope="module")
def klein(family_checkpoints: Path) -> Path:
    return tiny_families.write("flux2-klein", family_checkpoints)


@pytest.mark.parametrize("call", [{}, {"guidance_scale": 1.0}], ids=str)
@pytest.mark.parametrize("task", ["txt2img", "edit"])
def test_klein_draws_and_edits_with_the_pixels_of_the_raw_call(
    task: str, call: dict[str, Any], klein: Path, own: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"width": 96, "height": 64} if task == "txt2img" else {"image": START}
    call = {**call, "max_sequence_length": 64, "num_inference_steps": 3}
    made = own.run(Recipe(prompt=INSTRUCTION, model=str(klein), seed=3, **given, **call))
    pipeline = diffusers.Flux2KleinPipeline.from_pretrained(klein)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(3)
    raw = pipeline(prompt=INSTRUCTION, generator=generator, **{**given, "width": 96, "height": 64}, **call).images[0]
    assert made.image.size == (96, 64) and made.image.tobytes() == raw.tobytes()
    assert repr(made) and made.recipe.strength is None
    if not call.get("guidance_scale"):
        assert check(script_of(made), list(made.images)).line == SAME


def test_klein_is_stopped_at_a_step_and_has_no_strength(klein: Path, own: Session) -> None:
    recipe = Recipe(prompt=INSTRUCTION, model=str(klein), image=START, seed=3, num_inference_steps=3, max_sequence_length=64)
    whole, stop = own.run(recipe), threading.Event()
    with pytest.raises(Interrupted, match="of 3"):
        own.with_pipelines(Engine).run(resolve(recipe.replace(seed=4)), lambda progress: stop.set(), stop)
    assert own.run(recipe).image.tobytes() == whole.image.tobytes()
    with pytest.raises(ParameterError, match="it edits and has none"):
        resolve(recipe.replace(strength=0.5))
    with pytest.raises(ParameterError, match="`negative_prompt` is not taken by flux2-klein"):
        resolve(recipe.replace(negative_prompt="night"))

"""Stable Diffusion 3: a family that is one entry of the table, and runs as diffusers runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_sd3
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.families.step_rules import RULES
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes.presets import preset_of
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check
from nbdiffuse.sessions.session import Session

START = Image.linear_gradient("L").resize((80, 64)).convert("RGB")
MASK = Image.new("L", (80, 64), 0)
MASK.paste(255, (20, 10, 60, 50))
CALL = {"num_inference_steps": 4, "seed": 3, "max_sequence_length": 32}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd3.build(tmp_path_factory.mktemp("embedded") / "sd3")


def by_hand(checkpoint: Path, loader: Any, **call: Any) -> np.ndarray:
    pipeline = loader.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(3)
    image = pipeline(prompt="a red house", num_inference_steps=4, max_sequence_length=32, generator=generator, **call).images[0]
    return np.asarray(image)


def test_the_family_is_at_most_ten_lines() -> None:
    source = Path(FAMILIES["stable-diffusion-3"].__class__.__module__.replace(".", "/")).with_name("families.py")
    lines = (Path(nbdiffuse.__file__).parents[1] / source).read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if 'key="stable-diffusion-3"' in line) - 1
    end = next(index for index in range(start, len(lines)) if lines[index].strip() == "),")
    assert end - start + 1 <= 10


@pytest.mark.parametrize(
    "mode, loader",
    [
        ("txt2img", diffusers.AutoPipelineForText2Image),
        ("img2img", diffusers.AutoPipelineForImage2Image),
        ("inpaint", diffusers.AutoPipelineForInpainting),
    ],
)
def test_each_mode_gives_the_pixels_of_the_raw_call(mode: str, loader: Any, checkpoint: Path) -> None:
    pictures: dict[str, Any] = {"txt2img": {"width": 80, "height": 64}, "img2img": {"image": START}, "inpaint": {"image": START}}[
        mode
    ]
    raw = dict(pictures) | ({"width": 80, "height": 64} if mode != "txt2img" else {})
    if mode == "inpaint":
        pictures, raw = pictures | {"mask_image": MASK, "mask_overlay": "none"}, raw | {"mask_image": MASK}
    result = Session().run(Recipe(prompt="a red house", model=str(checkpoint), **pictures, **CALL))
    assert result.image.size == (80, 64)
    assert np.array_equal(np.asarray(result.image), by_hand(checkpoint, loader, **raw))


@pytest.mark.parametrize("steps", [1, 4, 5, 20, 50])
def test_the_steps_that_are_predicted_are_those_that_run(steps: int, checkpoint: Path) -> None:
    pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(checkpoint)
    for hundredth in range(1, 101, 4):
        strength = hundredth / 100
        pipeline.scheduler.set_timesteps(steps)
        timesteps, _ = pipeline.get_timesteps(steps, strength, "cpu")
        recipe = Recipe(prompt="a", image=START, model=str(checkpoint), strength=strength, num_inference_steps=steps)
        assert real_steps(resolve(recipe)) == len(timesteps) == RULES["ceil"](steps, strength)


def test_every_step_is_seen_with_a_preview_and_a_stop_changes_nothing(checkpoint: Path) -> None:
    session = Session()
    recipe = Recipe(prompt="a red house", model=str(checkpoint), image=START, strength=0.9, **CALL)
    whole = session.run(recipe)
    seen: list[Any] = []
    job = session.submit(resolve(recipe), seen.append)
    job.result()
    assert [(one.step, one.steps) for one in seen][-1] == (4, 4)
    assert session.run(recipe).image.tobytes() == whole.image.tobytes()


def test_the_program_gives_the_same_pixels(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nbdiffuse.run(Recipe(prompt="a red house", model=str(checkpoint), image=START, strength=0.6, **CALL))
    script = script_of(result)
    assert "AutoPipelineForImage2Image.from_pretrained" in script.text and "scheduler" not in script.text
    assert check(script, list(result.images)).line == SAME


def test_a_scheduler_of_noise_schedules_is_refused_and_weights_must_be_given(checkpoint: Path) -> None:
    with pytest.raises(ParameterError, match="scheduler"):
        resolve(Recipe(prompt="a", model=str(checkpoint), image=START, scheduler="PNDM"))
    with pytest.raises(ParameterError, match="`checkpoint` must be given for Stable Diffusion 3"):
        resolve(Recipe(prompt="a", model="stable-diffusion-3", image=START))
    assert preset_of(str(checkpoint)).name == "stable-diffusion-3"


def test_a_saved_picture_says_what_was_run(checkpoint: Path, tmp_path: Path) -> None:
    result = Session().run(Recipe(prompt="a red house", model=str(checkpoint), image=START, **CALL))
    found = image_files.read(result.save(tmp_path / "it.png")).provenance
    assert found is not None and (found.recipe.model, found.recipe.checkpoint) == ("stable-diffusion-3", checkpoint.name)
    assert found.fingerprint["pipeline"] == "StableDiffusion3Img2ImgPipeline"

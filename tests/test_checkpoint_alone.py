"""Weights alone say the model: `--checkpoint DIR` needs no `--model` beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_families
from PIL import Image

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import ParameterError
from nbdiffuse.families import recognition
from nbdiffuse.families.families import USUAL
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.resolve import resolve

IMAGE = Image.new("RGB", (128, 128), "teal")
ALONE = [
    "flux-dev",
    "chroma",
    "lcm",
    "kandinsky3",
    "sdxl",
    "sdxl-instruct-pix2pix",
    "sd3",
    "flux-kontext",
    "flux2-klein",
    "qwenimage",
]


def test_the_usual_family_is_that_of_the_model_which_is_not_said() -> None:
    assert PRESETS[Recipe(prompt="a cat").model].family == USUAL


@pytest.mark.parametrize("name", ALONE)
def test_a_checkpoint_alone_is_run_as_the_same_model(name: str, family_checkpoints: Path) -> None:
    word = str(tiny_families.write(name, family_checkpoints))
    alone, named = (Recipe(prompt="a cat", image=IMAGE, seed=1, **{field: word}) for field in ("checkpoint", "model"))
    assert resolve(alone) == resolve(named) and resolve(alone).checkpoint == word
    assert resolve(Recipe.from_json(alone.to_json())) == resolve(alone)


def test_it_draws(family_checkpoints: Path) -> None:
    word = str(tiny_families.write("sd3", family_checkpoints))
    made = Session().run(Recipe(prompt="a cat", checkpoint=word, width=64, height=64, num_inference_steps=1, seed=1))
    assert made.fingerprint["pipeline"] == "StableDiffusion3Pipeline"


@pytest.mark.quick
def test_a_hub_id_that_is_known_by_heart_is_enough() -> None:
    assert resolve(Recipe(prompt="a cat", checkpoint="black-forest-labs/FLUX.1-Krea-dev")).model == "flux-krea"
    assert resolve(Recipe(prompt="a cat", checkpoint="someone/a-tune-of-sd15")).model == "sd15"


def test_a_model_that_is_said_is_not_exchanged(family_checkpoints: Path) -> None:
    word = str(tiny_families.write("sd3", family_checkpoints))
    with pytest.raises(ParameterError, match=r"must be weights of .* for sd15, got .* it is a StableDiffusion3"):
        resolve(Recipe(prompt="a cat", model="sd15", checkpoint=word))
    recipe = Recipe(prompt="a cat")
    with pytest.raises(ParameterError, match="Write `--model stable-diffusion-3 --checkpoint"):
        resolve(recipe.replace(checkpoint=word))


@pytest.mark.quick
def test_no_file_that_a_strangers_recipe_names_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(word: str) -> None:
        raise AssertionError(f"looked at {word}")

    monkeypatch.setattr(recognition, "recognise", refused)
    with pytest.raises(AssertionError, match="looked at"):
        Recipe(prompt="a cat", checkpoint="//server/share")
    recipe = {"prompt": "a cat", "checkpoint": "//server/share"}
    assert Recipe.from_json(json.dumps({"format": 2, **recipe})).model == "sd15"
    written = json.loads(Provenance(Recipe(prompt="a cat"), {}).to_json())
    assert Provenance.from_json(json.dumps({**written, "recipe": {"format": 2, **recipe}})).recipe.model == "sd15"
    assert Provenance.from_json(json.dumps({**written, "chain": {"format": 1, "steps": [recipe, recipe]}})).recipe.model == "sd15"


def test_of_the_usual_family_any_model_may_be_meant(family_checkpoints: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_families.write("sd", family_checkpoints), tmp_path / "sd")
    assert Recipe(prompt="a cat", checkpoint=str(directory)).model == "sd15"

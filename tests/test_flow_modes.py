"""Transformers that edit, look at several pictures, or redraw a masked part: each runs as diffusers' own call does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_cases import CASES, SIZE, by_hand, recipe_of
from PIL import Image

from nbdiffuse import Session
from nbdiffuse.engine import progress
from nbdiffuse.engine.engine import Engine
from nbdiffuse.engine.progress import Progress
from nbdiffuse.errors import Interrupted
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.results import Result
from nbdiffuse.runs.program import script_of

Run = Callable[[str], Result]


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.fixture(scope="module")
def run(own: Session, family_checkpoints: Path) -> Run:
    """Return a function that runs a case once and keeps what it made."""
    made: dict[str, Result] = {}

    def make(name: str) -> Result:
        if name not in made:
            made[name] = own.run(recipe_of(name, family_checkpoints))
        return made[name]

    return make


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_and_the_size_are_those_of_the_raw_call(name: str, run: Run, family_checkpoints: Path) -> None:
    made = run(name)
    assert made.fingerprint["pipeline"] == CASES[name].pipeline
    assert made.image.size == SIZE and np.asarray(made.image).std() > 1
    assert made.image.tobytes() == by_hand(name, family_checkpoints).tobytes()


@pytest.mark.parametrize("name", CASES)
def test_the_program_gives_the_same_pixels(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = script_of(run(name))
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == run(name).image.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_a_saved_picture_says_the_same_recipe(name: str, run: Run, tmp_path: Path) -> None:
    found = image_files.read(run(name).save(tmp_path / "it.png")).provenance
    assert found is not None and found.recipe.replace(checkpoint=run(name).recipe.checkpoint) == run(name).recipe


@pytest.mark.parametrize("name", CASES)
def test_each_step_is_seen_with_a_preview_and_a_stop_changes_nothing(
    name: str, run: Run, own: Session, family_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PREVIEW_INTERVAL", 0)
    recipe, stop, seen = recipe_of(name, family_checkpoints), threading.Event(), list[Progress]()
    with pytest.raises(Interrupted):
        own.with_pipelines(Engine).run(resolve(recipe.replace(seed=4)), lambda step: stop.set(), stop)
    assert own.run(recipe, seen.append).image.tobytes() == run(name).image.tobytes()
    count = real_steps(run(name).recipe)
    assert [(step.step, step.steps) for step in seen] == [(number, count) for number in range(1, count + 1)]
    sides = [step.preview.size if step.preview else None for step in seen[:-1]]
    assert sides == [(SIZE[0] // 8, SIZE[1] // 8) if CASES[name].previews else None] * (count - 1)


@pytest.mark.parametrize("name", CASES)
def test_recipes_of_one_batch_are_those_that_run_alone(name: str, run: Run, own: Session, family_checkpoints: Path) -> None:
    recipes = [recipe_of(name, family_checkpoints, seed=seed) for seed in (3, 4)]
    made: dict[int, Any] = {}
    own.submit_batch(recipes, lambda *seen: None, made.__setitem__).result()
    alone = np.asarray(run(name).image, np.int16)
    assert np.abs(np.asarray(made[0].image, np.int16) - alone).max() <= 1

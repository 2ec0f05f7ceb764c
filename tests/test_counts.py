"""Several pictures of a prompt: seeds that go up by one, each picture what its seed makes by itself, on every surface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from waiting import wait_for

from nbdiffuse import Recipe, Session, batch, embedded, sweep
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.loopbacks import parse_loopback
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.metadata import image_files
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.store.store import Store


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(prompt="a cat in the snow", model="sd15", seed=3, num_inference_steps=2)


def test_the_pictures_are_those_of_diffusers_generators_in_a_list(recipe: Recipe) -> None:
    made = sweep(recipe, num_images_per_prompt=3).run()
    assert [one.recipe.seed for one in made.finished] == [3, 4, 5]
    raw = StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    given = [torch.Generator("cpu").manual_seed(seed) for seed in (3, 4, 5)]
    images = raw(recipe.prompt, num_images_per_prompt=3, num_inference_steps=2, width=128, height=128, generator=given).images
    for own, theirs in zip(made.finished, images, strict=True):
        # Pictures that share model calls may differ by rounding.
        assert np.abs(np.asarray(own.image, int) - np.asarray(theirs, int)).max() <= 1


@pytest.mark.quick
def test_a_cell_says_how_many() -> None:
    assert parse_cell("txt2img", "--num-images-per-prompt 4 --seed 7", "a cat").num_images_per_prompt == 4
    assert parse_cell("txt2img", "--num_images_per_prompt =n", "a cat", {"n": 2}).is_grid
    assert not parse_cell("txt2img", "--num-images-per-prompt 1", "a cat").is_grid
    measured = parse_cell("img2img", "example:cat --num-images-per-prompt 2 --measure ssim --executor pool", "a cat")
    assert measured.measure == ("ssim",) and measured.executor == "pool"


@pytest.mark.quick
@pytest.mark.parametrize("count", ["four", "0", "1001", "2.5", "-1", "٣", ""])
def test_what_is_no_count_is_refused(count: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"`num_images_per_prompt` must be a whole number in \[1, 1000\]"):
        parse_cell("txt2img", f"--num-images-per-prompt='{count}'", "a cat")
    with pytest.raises(ParameterError, match=r"`num_images_per_prompt` must be a whole number in \[1, 1000\]"):
        sweep(recipe, num_images_per_prompt=True)


@pytest.mark.quick
def test_seeds_one_by_one_loops_and_chains_have_no_count(recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match="must be left out where `seed` has several values"):
        parse_cell("txt2img", "--seed 1,2 --num-images-per-prompt 2", "a cat")
    with pytest.raises(ParameterError, match="must be left out where `seed` has several values"):
        sweep(recipe, seed=[1, 2], num_images_per_prompt=2)
    with pytest.raises(ParameterError, match="must be left out of a loopback"):
        parse_loopback("example:cat --num-images-per-prompt 2", "a cat")
    with pytest.raises(ParameterError, match="must be left out of a chain"):
        parse_chain("", "[sd15 --num-images-per-prompt 2]\na cat")
    with pytest.raises(ParameterError, match="must be left out for a chain"):
        sweep(recipe >> recipe.replace(strength=0.5), num_images_per_prompt=2)


def test_they_stand_beside_the_values_of_other_fields(recipe: Recipe) -> None:
    grid = sweep(recipe, guidance_scale=[1, 5], num_images_per_prompt=3)
    assert grid.sweep.shape == (2, 3) and grid.sweep.axes[-1].labels == ("3", "4", "5")
    with pytest.raises(ParameterError, match="`seed` must be"):
        sweep(recipe.replace(seed=2**63 - 2), num_images_per_prompt=3)


def test_an_open_seed_is_drawn_once_and_found_again_after_a_stop(recipe: Recipe, tmp_path: Path) -> None:
    store = Store(tmp_path)
    grid = sweep(recipe.replace(seed=None), store, num_images_per_prompt=3)
    first = next(iter(grid)).recipe.seed
    assert first is not None
    again = sweep(recipe.replace(seed=None), store, num_images_per_prompt=3)
    assert [cell.recipe.seed for cell in again.sweep.cells()] == [first, first + 1, first + 2]
    assert sweep(recipe.replace(seed=None), store, num_images_per_prompt=2).sweep.cells()[0].recipe.seed != first


def test_of_a_folder_each_picture_has_so_many_results(recipe: Recipe, scene: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        scene.image.save(tmp_path / "in" / name)
    redraw = recipe.replace(strength=0.5)
    made = batch(redraw, tmp_path / "in", folder=tmp_path / "out", num_images_per_prompt=2).run()
    files = sorted(file.name for file in made.folder.glob("*.png"))
    assert files == ["a-01.png", "a-02.png", "b-01.png", "b-02.png"]
    found = [image_files.read(made.folder / file).provenance for file in files]
    assert [one.recipe.seed for one in found if one is not None] == [3, 4, 3, 4]
    with pytest.raises(ParameterError, match="must be left out of a film"):
        batch(redraw, tmp_path / "in", folder=tmp_path / "film", carry=0.2, num_images_per_prompt=2)


def test_a_press_of_the_panel_draws_so_many(recipe: Recipe, session: Session) -> None:
    panel = Panel(recipe, session)
    panel._count.value = 3
    panel._run_button.click()
    panel._thread.settle()
    wait_for(lambda: not panel.busy)
    assert [result.recipe.seed for result in panel.results] == [3, 4, 5]
    assert panel.result is not None and panel.result.recipe.seed == 3
    assert panel.grid is not None and panel.grid.missing == 0

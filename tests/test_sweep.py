"""Sweeps as values: complete, checked when made, and honest about what is the same image."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.sweeps.axes import Axis
from nbdiffuse.sweeps.sweep import Sweep

START = Image.new("RGB", (96, 64), "teal")


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(prompt="a cat", image=START, num_inference_steps=10, seed=7)


@pytest.mark.quick
def test_cells_are_the_complete_recipes_of_every_combination(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, strength=[0.4, 0.8], guidance_scale=[1, 5, 9])
    expected = [resolve(recipe.replace(strength=s, guidance_scale=g)) for s, g in itertools.product([0.4, 0.8], [1, 5, 9])]
    assert [cell.recipe for cell in sweep.cells()] == expected and sweep.shape == (2, 3)
    assert dict(sweep.cells()[4].coordinates) == {"strength": 0.8, "guidance_scale": 5.0}


def test_an_open_seed_is_drawn_once_for_all_cells(recipe: Recipe) -> None:
    open_seed = Recipe(prompt="a cat", image=START)
    first, second = (Sweep.of(open_seed, strength="0.2:1:0.2") for _ in range(2))
    assert len({cell.recipe.seed for cell in first.cells()}) == 1
    assert first.base.seed != second.base.seed
    assert [cell.recipe.seed for cell in Sweep.of(open_seed, seed="1..4").cells()] == [1, 2, 3, 4]


@pytest.mark.quick
def test_strengths_that_run_the_same_steps_are_one_image(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, strength="0.1:1:0.05", guidance_scale=[2, 4])
    for group in sweep.distinct():
        assert len({real_steps(cell.recipe) for cell in group}) == 1
        assert len({cell.recipe.guidance_scale for cell in group}) == 1
    assert len(sweep.distinct()) == 10 * 2
    assert sorted(cell.index for group in sweep.distinct() for cell in group) == list(range(38))
    assert all(group[0].index == min(cell.index for cell in group) for group in sweep.distinct())


def test_anything_else_that_differs_is_another_image(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, num_inference_steps=[5, 10], strength=[0.4, 0.8])
    # 10 x 0.4 and 5 x 0.8 both run 4 steps, on other schedules.
    assert len(sweep.distinct()) == 4


@pytest.mark.parametrize(
    ("axes", "line"),
    [
        ({"strength": [0.4, 5]}, r"`strength` must be a number in \[0, 1\], got 5"),
        ({"strength": []}, "at least one value"),
        ({"strength": [0.4, 0.4]}, "without repeats"),
        ({"strength": "0.4,0.40"}, "without repeats"),
        ({"strength": [float("nan")]}, "`strength` must be"),
        ({"strength": 0.5}, "a list of values"),
        ({"strength": [None]}, "`strength` must be"),
        ({"strenght": [0.5]}, "Did you mean 'strength'"),
        ({"strength": [0.01]}, "at least one step"),
        ({"scheduler": ["DDIM", "Eulr"]}, "a scheduler class of the installed diffusers, got 'Eulr'"),
        ({"model": ["sd15", "sd16"]}, "Did you mean 'sd15'"),
        (
            {"seed": range(50), "guidance_scale": range(50)},
            r"at most 1000 cells, got 50 x 50 = 2500. If you mean it, add `--yes` \(in Python `yes=True`\)",
        ),
        ({"seed": itertools.count()}, "at most 1000 values"),
        ({"guidance_scale": "5:1:-1"}, "step above 0"),
    ],
)
def test_bad_axes_are_refused_in_one_line_before_anything_runs(recipe: Recipe, axes: dict[str, Any], line: str) -> None:
    with pytest.raises(NbdiffuseError, match=line) as raised:
        Sweep.of(recipe, **axes)
    assert "\n" not in str(raised.value)


def test_an_axis_that_the_task_does_not_take_is_refused() -> None:
    with pytest.raises(ParameterError, match="`strength` needs an initial picture"):
        Sweep.of(Recipe(prompt="a cat"), strength=[0.4, 0.6])


@pytest.mark.quick
def test_the_plan_is_one_line(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, strength="0.2:1:0.2", guidance_scale="1:9:2")
    assert sweep.plan_line() == "25 images, 150 steps"
    assert sweep.plan_line(0.06) == "25 images, about 9 s"
    assert Sweep.of(recipe, strength=[0.1]).plan_line(600) == "1 image, about 10 min"


def test_a_sweep_survives_json_with_its_pictures(recipe: Recipe) -> None:
    other = Image.new("RGB", (64, 64), "navy")
    sweep = Sweep.of(recipe, image=[START, other], strength=np.linspace(0.2, 1, 3), prompt="a {cat|dog}")
    again = Sweep.from_json(sweep.to_json())
    assert again == sweep and again.to_json() == sweep.to_json() and hash(again) == hash(sweep)
    assert [cell.recipe.digest for cell in again.cells()] == [cell.recipe.digest for cell in sweep.cells()]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":9}', '{"format":1,"base":{},"axes":[["strength",3]]}', "[" * 9999])
def test_json_that_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        Sweep.from_json(text)


def test_parts_keep_the_recipes_of_their_cells(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, strength=np.linspace(0.2, 1, 5), prompt="a {red|blue} cat", seed=[1, 2])
    part = sweep.sel(strength=0.6, prompt="blue")
    assert [cell.recipe for cell in part.cells()] == [
        cell.recipe for cell in sweep.cells() if real_steps(cell.recipe) == 6 and cell.recipe.prompt == "a blue cat"
    ]
    assert sweep.sel(seed=[2], strength=[0.2, 1]).shape == (2, 2, 1)
    with pytest.raises(ParameterError, match=r"on its axis, one of 0\.2, 0\.4"):
        sweep.sel(strength=0.5)
    with pytest.raises(ParameterError, match="Did you mean 'strength'"):
        sweep.sel(strenght=0.6)


def test_extending_adds_cells_and_keeps_the_others(recipe: Recipe) -> None:
    sweep = Sweep.of(Recipe(prompt="a cat", image=START), strength=[0.4, 0.8])
    grown = sweep.extend(strength=[0.8, 1])
    assert grown.axis("strength").values == (0.4, 0.8, 1.0)
    assert [cell.recipe for cell in grown.cells()][:2] == [cell.recipe for cell in sweep.cells()]


def test_turning_a_sweep_keeps_its_cells(recipe: Recipe) -> None:
    sweep = Sweep.of(recipe, strength=[0.4, 0.8], seed=[1, 2, 3], guidance_scale=[1, 5])
    assert [axis.name for axis in sweep.pivot().axes] == ["guidance_scale", "seed", "strength"]
    turned = sweep.pivot("strength", "seed")
    assert [axis.name for axis in turned.axes] == ["guidance_scale", "strength", "seed"]
    assert {cell.recipe for cell in turned.cells()} == {cell.recipe for cell in sweep.cells()}
    with pytest.raises(ParameterError, match="two"):
        sweep.pivot("seed", "seed")


def test_labels_say_what_differs() -> None:
    assert Axis("prompt", ("a red cat on a mat", "a blue cat on a mat", "a cat on a mat")).labels == ("red", "blue", "(none)")
    assert Axis("prompt", ("a cat", "a dog")).labels == ("cat", "dog")
    assert Axis("prompt", ("a (cat)0.5, calm", "a cat, calm", "a dog, calm")).labels == ("(cat)0.5", "cat", "dog")
    assert Axis("prompt", ("same",)).labels == ("same",)
    assert Axis("guidance_scale", (1, 7.5)).labels == ("1", "7.5")


def test_models_stand_together_in_the_work(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from nbdiffuse.recipes import presets

    second = dataclasses.replace(presets.PRESETS["sd15"], name="other")
    for module in ("nbdiffuse.recipes.presets",):
        monkeypatch.setattr(f"{module}.PRESETS", {**presets.PRESETS, "other": second})
    sweep = Sweep.of(recipe, seed=[1, 2], model=["sd15", "other"])
    assert [cell.recipe.model for cell in sweep.cells()] == ["sd15", "other", "sd15", "other"]
    assert [group[0].recipe.model for group in sweep.distinct()] == ["sd15", "sd15", "other", "other"]
    assert sweep.plan_details().endswith("2 models: sd15, other")
    assert json.loads(sweep.to_json())["axes"][1] == ["model", ["sd15", "other"]]

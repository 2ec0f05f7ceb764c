"""Perturbed-attention guidance: an argument asks for it, it never shares a call, and it leaves the UNet as it was."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from family_cases import recipe_of

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text, received
from nbdiffuse.errors import Interrupted, ParameterError
from nbdiffuse.panels import Panel
from nbdiffuse.recipes.presets import mode_of
from nbdiffuse.recipes.resolve import minimal
from nbdiffuse.recipes.taken_fields import settable


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=2, seed=1, pag_scale=2.0)


@pytest.mark.parametrize("name", ["pag_scale", "pag_adaptive_scale", "pag_applied_layers"])
def test_any_of_its_arguments_asks_for_it_and_the_others_get_their_defaults(name: str, recipe: Recipe) -> None:
    defaults = {"pag_scale": 3.0, "pag_adaptive_scale": 0.0, "pag_applied_layers": "mid"}
    complete = resolve(recipe.replace(**{"pag_scale": None, name: defaults[name]}))
    assert mode_of(complete) == "img2img+pag" and {one: complete.get(one) for one in defaults} == defaults
    assert resolve(minimal(complete)) == complete
    assert mode_of(resolve(recipe.replace(pag_scale=None))) == "img2img"


def test_recipes_with_it_run_by_themselves_and_equal_those_alone(family_checkpoints: Path) -> None:
    own = Session()
    plain = recipe_of("sd", "img2img", family_checkpoints)
    guided = recipe_of("sd-pag", "img2img", family_checkpoints)
    recipes = [guided, guided.replace(seed=5), plain, guided.replace(pag_scale=4.0), plain.replace(seed=5)]
    made: dict[int, Any] = {}
    own.submit_batch(recipes, lambda *seen: None, made.__setitem__).result()
    for index in (0, 1, 2, 3):
        assert made[index].image.tobytes() == own.run(recipes[index]).image.tobytes()
    assert made[0].image.tobytes() != made[2].image.tobytes()


def test_a_run_without_it_is_the_same_after_one_with_it_was_stopped(family_checkpoints: Path) -> None:
    own = Session()
    plain = recipe_of("sd", "img2img", family_checkpoints)
    before = own.run(plain)
    submitted = threading.Event()
    job = own.submit(recipe_of("sd-pag", "img2img", family_checkpoints), lambda step: submitted.wait() and job.stop())
    submitted.set()
    with pytest.raises(Interrupted):
        job.result()
    assert own.run(plain).image.tobytes() == before.image.tobytes()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"pag_applied_layers": "mid+nowhere"}, "`pag_applied_layers` must be names, or parts of names, of layers with self-"),
        ({"pag_applied_layers": "mid+"}, "`pag_applied_layers` must be names"),
        ({"pag_applied_layers": "("}, "`pag_applied_layers` must be names"),
        ({"pag_scale": -1}, "`pag_scale` must be a number in [0, 100], got -1."),
        ({"model": "kandinsky22"}, "`pag_scale` is not taken by kandinsky22"),
        (
            {"controlnet": "depth", "control_image": "auto"},
            "`pag_scale` cannot be combined with a ControlNet for sd15: diffusers has no pipeline for it. Leave one out.",
        ),
    ],
    ids=str,
)
def test_what_it_does_not_go_with_is_one_line(values: dict[str, Any], line: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError) as raised:
        nbdiffuse.run(Recipe(**{**recipe.values(), **values}))
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_it_is_on_every_surface(recipe: Recipe, session: Session) -> None:
    both = recipe.replace(pag_applied_layers="mid+up_blocks.1")
    text = cell_text(both, {"image": "room"})
    assert "--pag-scale 2 --pag-applied-layers mid+up_blocks.1" in text
    name, line, body = received(text) or ("", "", "")
    assert {"model": "sd15", **parse_cell(name, line, body).values} == {**both.values(), "image": "room"}
    assert Recipe.from_json(both.to_json()) == both
    grid = nbdiffuse.sweep(recipe, pag_scale=[0.0, 3.0]).run()
    assert grid[0].image.tobytes() == session.run(recipe.replace(pag_scale=None)).image.tobytes() != grid[1].image.tobytes()
    plain = recipe.replace(pag_scale=None)
    assert "pag_scale" in settable(plain) and "pag_scale" in settable(recipe)
    assert "pag_scale" not in settable(plain.replace(controlnet="depth", control_image="auto"))
    panel = Panel(plain, session)
    panel._controls._control("pag_scale")._box.value = 2.0
    panel._thread.settle()
    assert panel.recipe == recipe
    panel.stop()

"""`auto` in the place of a control picture means the same in Python, in a grid, in a chain and in a cell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Chain, Recipe, Session, get_session, resolve, run, sweep
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text, received
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.recipes import controlnets
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(
        prompt="a cat in the snow", image=scene.image, num_inference_steps=2, seed=1, controlnet="depth", control_image="auto"
    )


@pytest.fixture
def estimates(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every picture whose depth is estimated from now on."""
    asked: list[Any] = []

    def preprocess(image: Any, name: str) -> Any:
        asked.append(image)
        return get_session().control_picture(image, name)

    monkeypatch.setattr(controlnets, "_preprocess", preprocess)
    controlnets._preprocessed.cache_clear()
    return asked


def test_python_estimates_what_the_initial_picture_shows(recipe: Recipe, scene: Any, session: Session) -> None:
    depth = session.depth_map(scene.image)
    made = run(recipe)
    assert made.recipe.controlnets[0].image == depth and made.recipe.controlnets[0].image.label == "estimated depth"
    assert made.image.tobytes() == run(recipe.replace(control_image=depth)).image.tobytes()


def test_another_preprocessor_is_named_behind_it(recipe: Recipe, session: Session, scene: Any) -> None:
    edges = session.control_picture(scene.image, "canny")
    assert set(np.unique(np.asarray(edges.image))) == {0, 255} and edges.size == scene.image.size
    assert parse_cell("img2img", "start --control-image auto:canny", "a cat").values["control_image"] == "auto:canny"
    made = run(recipe.replace(control_image="auto:canny"))
    assert made.recipe.controlnets[0].image == edges and edges.label == "edges"
    assert made.image.tobytes() == run(recipe.replace(control_image=edges)).image.tobytes()
    assert made.image.tobytes() != run(recipe).image.tobytes()


def test_edges_of_a_square_are_its_outline(session: Session) -> None:
    picture = Image.new("RGB", (64, 48), "black")
    picture.paste("white", (16, 12, 48, 36))
    found = np.asarray(session.control_picture(picture, "canny").image)[..., 0] > 0
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) in {(12, 35, 16, 47), (11, 36, 15, 48)} or found.sum() < 130
    assert not found[18:30, 22:42].any() and found.sum() > 90
    with pytest.raises(ParameterError, match="`preprocessor` must be one of depth, canny, lineart, scribble, tile, got 'depht'"):
        session.control_picture(picture, "depht")


def test_a_line_is_bright_where_it_is_darker_than_its_surroundings(session: Session) -> None:
    picture = Image.new("RGB", (256, 192), "white")
    picture.paste("black", (96, 64, 98, 144))
    for name in ("lineart", "scribble"):
        made = session.control_picture(picture, name)
        found = np.asarray(made.image)[..., 0]
        assert made.size == picture.size and made.label == controlnets.PREPROCESSORS[name]
        assert found[70:138, 96:98].min() > 100 and found[:, 120:].max() == 0
        plain = session.control_picture(Image.new("RGB", (256, 192), "teal"), name)
        assert np.asarray(plain.image).max() == 0
    assert session.control_picture(picture, "scribble").image.getcolors() is not None
    assert set(np.unique(np.asarray(session.control_picture(picture, "scribble").image))) == {0, 255}


def test_a_tile_is_the_picture_itself(recipe: Recipe, scene: Any, session: Session) -> None:
    assert session.control_picture(scene.image, "tile").image.tobytes() == scene.image.convert("RGB").tobytes()
    complete = resolve(recipe.replace(control_image="auto:tile"))
    assert complete.controlnets[0].image.label == "picture to keep to"  # type: ignore[union-attr]


def test_the_second_controlnet_takes_it_too(recipe: Recipe, session: Session, scene: Any) -> None:
    both = recipe.replace(control_image=scene.image, controlnet_2="depth", control_image_2="auto")
    assert resolve(both).controlnets[1].image == session.depth_map(scene.image)


def test_a_recipe_with_it_is_data_and_reads_back(recipe: Recipe) -> None:
    assert recipe.to_dict()["controlnets"][0]["image"] == "auto" and "control_image" not in recipe.pictures
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert hash(recipe) == hash(Recipe.from_json(recipe.to_json()))


def test_one_picture_is_estimated_once(recipe: Recipe, estimates: list[Any]) -> None:
    assert resolve(recipe) == resolve(recipe)
    assert len(estimates) == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"scheduler": "Nothing"}, "`scheduler` must be"),
        ({"strength": 0.1}, "strength"),
        ({"control_guidance_start": 0.9, "control_guidance_end": 0.1}, "`control_guidance_start` must be below"),
        ({"lora": "style.ckpt"}, "`lora` must be a .safetensors file"),
        ({"weighting": "compel", "prompt": "a (cat"}, "prompt"),
        ({"model": "kandinsky22"}, "is not taken by kandinsky22"),
        ({"image": None}, "`control_image` must be a picture where there is no initial one, got 'auto'"),
        (
            {"controlnet": "some/canny"},
            "`control_image` must be a picture for some/canny, or say what makes one: `auto:depth`",
        ),
        (
            {"control_image": "auto:cany"},
            "or `auto:` with one of depth, canny, lineart, scribble, tile, got 'auto:cany'",
        ),
        (
            {"control_image": "auto:openpose"},
            "`control_image` must be a picture for openpose, whose model is not in this package. "
            "Make it with OpenposeDetector of controlnet-aux, and give it.",
        ),
        ({"control_image": "auto:soft edge"}, "`control_image` must be a picture for soft edge, .* HEDdetector"),
        ({"controlnet": None}, "`controlnet` must be given with `control_image`"),
    ],
    ids=str,
)
def test_nothing_is_estimated_before_all_else_is_checked(
    changes: dict[str, Any], line: str, recipe: Recipe, estimates: list[Any]
) -> None:
    with pytest.raises(ParameterError, match=line):
        run(recipe.replace(**changes))
    assert estimates == []


def test_a_grid_checks_every_cell_before_one_is_estimated(recipe: Recipe, estimates: list[Any]) -> None:
    with pytest.raises(NbdiffuseError):
        sweep(recipe, strength=[0.9, 0.1]).run()
    assert estimates == []


def test_each_picture_of_a_grid_has_its_own_depth(recipe: Recipe, scene: Any, estimates: list[Any], session: Session) -> None:
    other = scene.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    grid = sweep(recipe, image=[scene.image, other]).run()
    assert len(estimates) == 2
    assert [made.recipe.controlnets[0].image for made in grid] == [session.depth_map(scene.image), session.depth_map(other)]


def test_a_later_step_of_a_chain_follows_the_picture_that_the_one_before_makes(recipe: Recipe, session: Session) -> None:
    first = Recipe(prompt="a dog", image=recipe.image, num_inference_steps=2, seed=1)
    made = run(Chain((first, recipe.replace(image=None))))
    last = made.results[1].recipe
    assert last.controlnets[0].image == session.depth_map(made.results[0].image)


def test_what_no_estimator_makes_is_not_offered() -> None:
    with pytest.raises(ParameterError) as caught:
        resolve(Recipe(prompt="a", controlnet="some/canny"))
    assert "`control_image` must be given with `controlnet`. Give a picture." in str(caught.value)


def test_a_family_whose_pipelines_do_not_combine_a_mask_and_a_controlnet_says_so(
    recipe: Recipe, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"controlnet", "mask_image"} <= set(settable(recipe)) & set(settable(recipe.replace(mask_image=scene.image)))
    family = FAMILIES["stable-diffusion"]
    modes = tuple(mode for mode in family.modes if "+mask+" not in mode)
    only = {"stable-diffusion": dataclasses.replace(family, modes=modes)}
    monkeypatch.setattr("nbdiffuse.recipes.family_traits.FAMILIES", {**FAMILIES, **only})
    assert "mask_image" not in settable(recipe)
    with pytest.raises(ParameterError, match="`mask_image` and `controlnet` cannot be combined for sd15"):
        resolve(recipe.replace(mask_image=scene.image))


def test_a_mask_and_a_controlnet_are_one_cell_one_grid_and_one_program(
    recipe: Recipe, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = Image.new("L", scene.image.size)
    mask.paste(255, (32, 32, 96, 96))
    both = recipe.replace(mask_image=mask, strength=0.8)
    text = cell_text(both, {"image": "room", "mask_image": "hole"})
    assert "--mask-image hole" in text and "--controlnet depth --control-image auto" in text
    name, line, body = received(text) or ("", "", "")
    assert {"model": "sd15", **parse_cell(name, line, body).values} == {**both.values(), "image": "room", "mask_image": "hole"}
    grid = sweep(both, controlnet_conditioning_scale=[0.0, 1.0]).run()
    assert grid[0].image.tobytes() != grid[1].image.tobytes()
    kept = np.asarray(mask) == 0
    assert np.array_equal(np.asarray(grid[1].image)[kept], np.asarray(scene.image.convert("RGB"))[kept])
    alone = run(grid[1].recipe)
    assert np.abs(np.asarray(alone.image, int) - np.asarray(grid[1].image, int)).max() <= 1
    monkeypatch.chdir(tmp_path)
    script = script_of(alone)
    assert "Inpainting with a ControlNet" in script.text and check(script, list(alone.images)).line == SAME

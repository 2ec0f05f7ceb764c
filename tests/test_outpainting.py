"""A picture is extended: a larger canvas, and only what is new on it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_surfaces import QUICK, changed, on_every_surface, swept
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.outpainting import extended, margins
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.runs.program import script_of


@pytest.mark.parametrize(
    ("text", "size", "added"),
    [
        ("left:64,top:128", (128, 128), (64, 128, 0, 0)),
        ("right:8", (128, 64), (0, 0, 8, 0)),
        ("1:1", (128, 64), (0, 32, 0, 32)),
        ("16:9", (128, 128), (52, 0, 52, 0)),
        ("9:16", (128, 128), (0, 52, 0, 52)),
    ],
)
def test_what_is_added(text: str, size: tuple[int, int], added: tuple[int, ...]) -> None:
    assert margins(text, size, 8) == added
    canvas, mask = extended(Image.new("RGB", size), margins(text, size, 8))
    assert canvas.size == mask.size == (size[0] + added[0] + added[2], size[1] + added[1] + added[3])


def test_the_canvas_has_the_picture_its_edges_and_a_mask_with_a_strip(scene: Any) -> None:
    canvas, mask = extended(scene.image, (64, 0, 0, 16))
    pixels, own = np.asarray(canvas), np.asarray(scene.image)
    assert np.array_equal(pixels[:128, 64:], own)
    assert (pixels[:128, :64] == own[:, :1]).all() and (pixels[128:, 64:] == own[-1]).all()
    expected = np.full((144, 192), 255, np.uint8)
    expected[:120, 72:] = 0
    assert np.array_equal(np.asarray(mask), expected)


def test_a_complete_recipe_is_an_inpainting_of_the_canvas(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(extend="left:32,top:16"))
    complete = resolve(recipe)
    assert (complete.width, complete.height) == (160, 144) and complete.get("extend") is None and resolve(complete) == complete
    line = "`image`: extended by left 32, top 16 pixels from 128x128: 160x144 is made"
    assert line in before_run(complete)
    canvas, mask = extended(scene.image, (32, 16, 0, 0))
    by_hand = Recipe(**QUICK, image=canvas, mask_image=mask, width=160, height=144)
    made = session.run(recipe)
    assert made.image.size == (160, 144) and made.image.tobytes() == session.run(by_hand).image.tobytes()
    assert changed(made.image, canvas, np.asarray(mask) == 0) == 0 < changed(made.image, canvas, np.asarray(mask) == 255)
    on_every_surface(complete, session, tmp_path)


def test_it_is_said_in_cells_json_and_sweeps(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, extend="top:16, left:32")
    assert recipe.get("extend") == "left:32,top:16" and Recipe.from_json(recipe.to_json()) == recipe
    text = cell_text(recipe, {"image": "start"})
    assert "--extend left:32,top:16" in text
    line, body = text.split("\n", 1)
    assert parse_cell("img2img", line.partition(" ")[2], body).values["extend"] == "left:32,top:16"
    assert parse_cell("img2img", 'start --extend "left:32,top:16|5:4"', "a").axes == {"extend": ("left:32,top:16", "5:4")}
    first, second = swept(recipe, session, tmp_path, extend="left:32,top:16|5:4")
    assert (first.size, second.size) == ((160, 144), (160, 128))


def test_a_later_step_extends_what_the_step_before_makes(scene: Any) -> None:
    chain = Recipe(**QUICK, image=scene.image) >> Recipe(**QUICK, extend="right:32")
    before, after = nbdiffuse.run(chain).results
    assert after.image.size == (160, 128)
    assert np.array_equal(np.asarray(after.image)[:, :120], np.asarray(before.image)[:, :120])
    with pytest.raises(ParameterError, match=r"^Step 2: `extend` must be left out in a program"):
        script_of(chain)


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def test_bad_extensions_are_one_line(scene: Any) -> None:
    for text in ("", "left", "left:0", "left:64,left:64", "side:8", "0:1", "left:-8", "1:1,left:8"):
        with pytest.raises(ParameterError, match=r"^`extend` must be sides with pixels such as left:64,top:128, or a shape"):
            Mask(extend=text)
    given = {**QUICK, "image": scene.image}
    for text, line in {
        "left:12": r"`extend` must be made of multiples of 8, got left:12\. The nearest is 16",
        "1:1": "`extend` must add something, and the picture, 128x128, is 1:1 already",
        "left:8000": r"`extend` must be of a result of at most 4096 pixels a side, got left:8000, which gives 8128x128",
    }.items():
        with pytest.raises(ParameterError, match=line):
            resolve(Recipe(**given, extend=text))
    with pytest.raises(ParameterError, match="`mask_image` and `extend` cannot be combined"):
        resolve(Recipe(**given, extend="left:8", mask_image=Image.new("L", (128, 128), 255)))
    with pytest.raises(ParameterError, match="`extend` is not taken by x2-upscaler"):
        resolve(Recipe(**without(given, "strength"), model="x2-upscaler", extend="left:64"))


def test_a_panel_has_a_control_for_it(session: Session, scene: Any) -> None:
    from nbdiffuse.panels.recipe_panel import Panel

    panel = Panel(Recipe(**QUICK, image=scene.image), session)
    try:
        controls = panel._controls
        controls.set("extend", "left:32")
        assert controls.recipe.mask == Mask(extend="left:32")
        assert isinstance(controls.outlook, Recipe) and controls.outlook.width == 160
    finally:
        panel.stop()

"""A mask may be a part of the initial picture: what is transparent, or what has a colour."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_surfaces import QUICK, on_every_surface, program, swept
from PIL import Image, ImageDraw

import nbdiffuse
from nbdiffuse import Picture, Recipe, Session, read, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.errors import ParameterError
from nbdiffuse.images import masks
from nbdiffuse.magics.notebook_variables import NotebookVariables
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.recipes.resolve import resolve_chain
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.program import script_of

SKY = (135, 206, 235)
SELECTIONS = ["auto:alpha", "color:#87ceeb~40"]


def holed(scene: Any) -> Image.Image:
    """The scene with a transparent square, and one that has the colour of the sky."""
    image = scene.image.convert("RGBA")
    ImageDraw.Draw(image).rectangle((80, 80, 111, 111), fill=(*SKY, 255))
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (16, 24, 48, 56))
    alpha.paste(100, (48, 24, 50, 56))
    image.putalpha(alpha)
    return image


def selected(image: Any, text: str) -> np.ndarray[Any, Any]:
    complete = resolve(Recipe(**QUICK, image=image, mask_image=text))
    assert complete.mask is not None and isinstance(complete.mask.image, Picture)
    return np.asarray(complete.mask.image.image.convert("L"))


def test_what_is_transparent_is_redrawn(scene: Any) -> None:
    image = holed(scene)
    expected = 255 - np.asarray(image.getchannel("A"))
    assert np.array_equal(selected(image, "auto:alpha"), expected)
    exif, turned = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(turned, "PNG", exif=exif)
    assert np.array_equal(selected(turned.getvalue(), "auto:alpha"), np.rot90(expected, -1))
    carried = pickle.loads(pickle.dumps(Picture.of(image)))
    assert np.array_equal(selected(carried, "auto:alpha"), expected)


@pytest.mark.parametrize("tolerance", [0, 1, 40, 255])
def test_a_colour_is_selected_where_no_channel_is_further_off(tolerance: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels[0, 0] = SKY
    near = (np.abs(pixels.astype(int) - SKY) <= tolerance).all(-1)
    assert np.array_equal(selected(Image.fromarray(pixels), f"color:#87ceeb~{tolerance}") == 255, near)
    if tolerance == 0:
        for text in ("color:#87ceeb", "color:#87CEEB", "color:skyblue"):
            assert np.array_equal(selected(Image.fromarray(pixels), text) == 255, near)


def test_a_complete_recipe_holds_the_masks_own_pixels(scene: Any, session: Session) -> None:
    recipe = Recipe(**QUICK, image=holed(scene), mask_image="auto:alpha")
    complete = resolve(recipe)
    assert complete.to_dict()["mask"]["image"].startswith("sha256:") and resolve(complete) == complete
    assert complete.mask is not None
    assert complete.mask.image.notices[0] == "auto:alpha selects 6.5% of the picture"
    by_hand = recipe.replace(mask_image=255 - np.asarray(holed(scene).getchannel("A")))
    assert session.run(recipe).image.tobytes() == session.run(by_hand).image.tobytes()


@pytest.mark.parametrize("text", SELECTIONS)
def test_a_selection_is_said_on_every_surface(text: str, session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=holed(scene), mask=Mask(image=text, grow=2))
    written = cell_text(recipe, {"image": "start"})
    assert f"--mask-image {text}" in written.replace("'", "")
    line, body = written.split("\n", 1)
    values = parse_cell("img2img", line.partition(" ")[2], body).values
    assert NotebookVariables({"start": holed(scene)}).recipe(values) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe
    on_every_surface(resolve(recipe), session, tmp_path)


def test_selections_are_swept(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=holed(scene), mask_image="auto:alpha")
    swept(recipe, session, tmp_path, mask_image=("auto:alpha", "color:#87ceeb~40"))
    axes = parse_cell("img2img", "start --mask-image color:#87ceeb,color:#87ceeb~40", "a cat").axes
    assert axes == {"mask_image": ("color:#87ceeb", "color:#87ceeb~40")}


def test_a_later_step_selects_from_what_the_step_before_makes(session: Session, scene: Any, tmp_path: Path) -> None:
    first = Recipe(**QUICK, image=scene.image)
    color = "color:#808080~90"
    made = nbdiffuse.run(first >> Recipe(**QUICK, mask_image=color))
    before, after = made.results
    near = (np.abs(np.asarray(before.image).astype(int) - 128) <= 90).all(-1)
    assert np.array_equal(np.asarray(after.recipe.mask.image.image.convert("L")) == 255, near)
    after.save(tmp_path / "chain.png")
    said = read(tmp_path / "chain.png").provenance
    assert said is not None and said.chain is not None and said.chain[1].mask.image == color
    with pytest.raises(
        ParameterError, match=r"^Step 2: `mask_image` must be a picture or a colour in a later step, got 'auto:alpha'"
    ):
        resolve_chain(first >> Recipe(**QUICK, mask_image="auto:alpha"))
    assert list(program(made, tmp_path / "program").values()) == [after.image.tobytes()]
    with pytest.raises(ParameterError, match=r"^Step 2: `mask_image` must be a picture in a program, got 'color:#808080~90'"):
        script_of(first >> Recipe(**QUICK, mask_image=color))


def test_every_pass_of_a_loopback_has_the_first_ones_mask(session: Session, scene: Any) -> None:
    loop = Loopback(Recipe(**QUICK, image=holed(scene), mask_image="color:#87ceeb~40"), 2, session=session).run()
    assert len({result.recipe.mask.image for result in loop.results}) == 1


def test_a_selection_that_selects_nothing_or_everything_is_one_line(scene: Any) -> None:
    with pytest.raises(
        ParameterError, match="`mask_image` must be a picture where the initial one has no transparency, got 'auto:alpha'"
    ):
        resolve(Recipe(**QUICK, image=scene.image, mask_image="auto:alpha"))
    with pytest.raises(ParameterError, match="must be a picture where the initial one has no transparency"):
        resolve(Recipe(**QUICK, image=scene.image.convert("RGBA"), mask_image="auto:alpha"))
    with pytest.raises(ParameterError, match=r"color:#ff00ff selects nothing\. Raise the tolerance"):
        resolve(Recipe(**QUICK, image=scene.image, mask_image="color:#ff00ff"))
    for image, text in ((Image.new("RGBA", (64, 64)), "auto:alpha"), (scene.image, "color:#000~255")):
        mask = resolve(Recipe(**QUICK, image=image, mask_image=text)).mask
        assert mask is not None and mask.image.notices == (f"{text} selects 100.0% of the picture", masks.FULL)


@pytest.mark.parametrize(
    "text",
    ["auto:", "auto:depth", "color:", "color:#12345", "color:#87ceeb~256", "color:#87ceeb~-1", "color:nosuch", "color:#87ceeb~"],
)
def test_a_selection_of_another_form_is_one_line(text: str) -> None:
    with pytest.raises(
        ParameterError, match=r"^`mask_image` must be a picture, `auto:alpha`, .*, or `color:#87ceeb~40` with a tolerance"
    ):
        Recipe(mask_image=text)


def test_a_panel_takes_a_selection_as_it_is_typed(session: Session, scene: Any) -> None:
    from nbdiffuse.panels.recipe_panel import Panel

    panel = Panel(Recipe(**QUICK, image=holed(scene)), session)
    try:
        controls = panel._controls
        named = controls._control("mask_image")
        named._named.value = "color:#87ceeb~40"
        named._typed()
        assert controls.recipe.mask == Mask(image="color:#87ceeb~40") and named.word == "color:#87ceeb~40"
        assert isinstance(controls.outlook, Recipe) and controls.outlook.mask.image.at_hand
    finally:
        panel.stop()

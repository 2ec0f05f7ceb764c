"""Corrections: a result is brought back to where the picture was and to its colours, on every surface, and says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.image_processor import VaeImageProcessor
from moved_scenes import jpeg, seen
from PIL import Image, ImageDraw

from nbdiffuse import Recipe, Session, program, read, resolve, sweep
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.embedded.world.edits import sample_edit
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.images import fidelity
from nbdiffuse.images.faithful import NOTHING_STAYED, aligned, recolored
from nbdiffuse.images.registration import register
from nbdiffuse.recipes.taken_fields import settable


def tinted(image: Image.Image, red: float = 0.9, green: float = 1.04, blue: float = 0.85) -> Image.Image:
    return Image.fromarray((np.asarray(image, float) * (red, green, blue) + 6).clip(0, 255).round().astype(np.uint8))


def test_a_moved_picture_is_laid_back_and_one_that_was_not_stays_to_the_byte() -> None:
    before, after = seen(7, 256), seen(7, 256, zoom=1.03, right=9)
    back, line = aligned(after, before)
    assert (
        register(before, back).shift < 0.1 and line == "`align`: the picture was moved 9.0 px right, zoom 1.03, which is undone."
    )
    assert fidelity.kept(before, back) > 0.97 > fidelity.kept(before, after)
    assert aligned(before, before) == (before, "") and aligned(jpeg(before), before)[1] == ""


def test_colours_are_those_of_what_stayed_and_the_edit_stays_an_edit() -> None:
    for seed in range(8):
        edit = sample_edit(seed, 256, "subject")
        before, off = edit.scene.image, tinted(edit.result)
        made, line = recolored(off, before, None)
        assert fidelity.drift(before, made) < 1.5 < fidelity.drift(before, off), seed
        assert fidelity.drift(edit.result, made) < 2 and line.startswith(
            "`keep_color`: the colours of what stayed were off by ΔE"
        )
        ours = fidelity.change_map(before, made) & fidelity.change_map(before, edit.result)
        assert ours.sum() > 0.9 * fidelity.change_map(before, edit.result).sum()


def test_a_mask_says_which_colours_count() -> None:
    before = seen(2, 128)
    after, mask = tinted(before), Image.new("L", before.size)
    ImageDraw.Draw(mask).rectangle((0, 0, 80, 127), fill=255)
    ImageDraw.Draw(after).rectangle((0, 0, 80, 127), fill="red")
    made, _ = recolored(after, before, mask)
    assert fidelity.drift(before, made, mask) < 1
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (128, 128, 3), np.uint8))
    assert recolored(noise, before, None) == (noise, NOTHING_STAYED)
    assert recolored(before, before, None) == (before, "")


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=scene.caption, image=scene.image, strength=0.2, num_inference_steps=10, seed=1)


def test_a_run_is_corrected_and_says_what_was_done(recipe: Recipe, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = session.run(recipe)
    real = VaeImageProcessor.numpy_to_pil

    def moved(pixels: Any) -> Any:
        # As a model that moves and tints its picture.
        return [tinted(image) for image in real(np.roll(pixels, 6, axis=2))]

    monkeypatch.setattr(VaeImageProcessor, "numpy_to_pil", staticmethod(moved))
    off, back = session.run(recipe), session.run(recipe.replace(align=True, keep_color=True))
    assert fidelity.shift(off.initial, off.image) == pytest.approx(6, abs=0.5) and fidelity.shift(back.initial, back.image) < 0.5
    assert back.compare().drift < off.compare().drift / 2
    assert any(line.startswith("`align`: the picture was moved 6.0 px right") for line in back.notices), back.notices
    assert any(line.startswith("`keep_color`: ") for line in back.notices) and back.latents is None and plain.latents is not None
    assert {"scikit-image", "scipy"} <= back.fingerprint.keys() and "scipy" not in off.fingerprint
    assert session.run(back.recipe).image.tobytes() == back.image.tobytes()


def test_what_lies_where_it_was_is_the_uncorrected_picture_to_the_byte(recipe: Recipe, session: Session) -> None:
    plain, asked = session.run(recipe), session.run(recipe.replace(align=True))
    assert asked.image.tobytes() == plain.image.tobytes() and not any("align" in line for line in asked.notices)
    assert session.run(recipe.replace(align=False)).image.tobytes() == plain.image.tobytes()


def test_an_exact_mask_still_keeps_every_pixel(scene: Any, session: Session) -> None:
    recipe = Recipe(prompt="a robot", image=scene.image, mask_image=scene.mask, num_inference_steps=2, strength=1.0, seed=1)
    made = session.run(recipe.replace(align=True, keep_color=True))
    black = np.asarray(scene.mask) == 0
    assert (np.asarray(made.image)[black] == np.asarray(made.initial)[black]).all()


def test_every_surface_has_them(recipe: Recipe, session: Session, tmp_path: Path) -> None:
    asked = recipe.replace(align=True, keep_color=True)
    assert Recipe.from_json(asked.to_json()) == asked and {"align", "keep_color"} <= set(settable(recipe))
    assert read(session.run(asked).save(tmp_path / "a.png")).recipe.get("keep_color") is True
    cell = parse_cell("img2img", "start --align true --keep-color true", "a cat", {"start": recipe.image})
    assert cell.values["align"] is True and cell.values["keep_color"] is True
    grid = sweep(recipe, align=[False, True])
    assert [cell.recipe.get("align") for cell in grid.sweep.cells()] == [False, True]
    for name in ("align", "keep_color"):
        with pytest.raises(ParameterError, match=f"`{name}` needs an initial picture"):
            resolve(Recipe(prompt="a cat", **{name: True}))
        with pytest.raises(ParameterError, match=f"`{name}` must be left out in a program"):
            program(resolve(recipe.replace(**{name: True})))
    with pytest.raises(ParameterError, match="`align` must be"):
        Recipe(prompt="a cat", align="perhaps")


def test_what_is_not_installed_is_said_before_anything_runs(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(NbdiffuseError, match=r"`keep_color` needs scikit-image, which is not installed. Run `pip install"):
        resolve(recipe.replace(keep_color=True))
    assert resolve(recipe).get("align") is None

"""Results and contact sheets: light, constant in text, readable at any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.images.contact_sheets import Cell, contact_sheet, enlarged
from nbdiffuse.metadata import image_files
from nbdiffuse.results import Result, picture_label, result_label

pytestmark = pytest.mark.quick

IMAGE = Image.new("RGB", (100, 60), "teal")


@pytest.fixture
def result() -> Result:
    recipe = resolve(Recipe(prompt="a cat", image=IMAGE, seed=7, strength=0.4))
    return Result(recipe=recipe, images=(Image.new("RGB", (104, 64), "navy"),), initial=IMAGE.resize((104, 64)), seconds=1.0)


def test_a_result_shows_one_picture_and_a_text_without_model_time_or_size(result: Result) -> None:
    bundle = result._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/plain"}
    assert bundle["text/plain"] == "img2img: initial image | result"


def test_labels_say_what_was_done(result: Result) -> None:
    assert result_label(result.recipe) == "strength 0.4  guidance 7.5  seed 7\nnoise 0.76  sd15 (embedded)"
    assert picture_label(result.recipe, "image") == "initial image  100x60 > 104x64"


def test_a_saved_result_carries_its_recipe(result: Result, tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        file = result.save(tmp_path / f"cat{suffix}")
        provenance = image_files.read(file).provenance
        assert provenance is not None and provenance.recipe == result.recipe
    with pytest.raises(NbdiffuseError, match="xyz"):
        result.save(tmp_path / "cat.xyz")


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_a_sheet_holds_every_cell_whole(count: int) -> None:
    colors = [(40 + 3 * index, 90, 200 - 3 * index) for index in range(count)]
    sheet = contact_sheet(
        [Cell(Image.new("RGB", (64, 64), color), "label " * 30) for color in colors], columns=min(count, 8), side=64
    )
    pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    for color in colors:
        assert (pixels == color).all(1).sum() == 64 * 64


def test_a_sheet_is_transparent_around_the_pictures_and_labels_read_on_both_themes() -> None:
    sheet = contact_sheet([Cell(None, "waiting", 0.5)])
    assert sheet.mode == "RGBA" and np.asarray(sheet)[..., 3].min() == 0

    def luminance(value: float) -> float:
        return float(((value / 255 + 0.055) / 1.055) ** 2.4)

    from nbdiffuse.images.text import INK

    grey = luminance(INK[0])
    assert (1.05 / (grey + 0.05)) > 3 and (grey + 0.05) / (luminance(17) + 0.05) > 3


def test_pictures_keep_their_proportions() -> None:
    assert enlarged(IMAGE, 200).size == (200, 120)
    assert enlarged(Image.new("RGB", (1, 400)), 100).size == (1, 100)


def test_text_to_image_has_no_initial_cell() -> None:
    recipe: Any = resolve(Recipe(prompt="a cat", seed=1))
    result = Result(recipe=recipe, images=(IMAGE,), initial=None, seconds=1.0)
    assert len(result.cells()) == 1 and repr(result) == "txt2img: result"

"""What is said of a mask that may not be what was meant, in one line, before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mask_surfaces import QUICK, square
from PIL import Image, ImageDraw

from nbdiffuse import Picture, Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.images import masks
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.sizes import SHAPE


def said(image: Any, mask: Any, **more: Any) -> tuple[str, ...]:
    """Return what is said of a mask before a run, and check that nothing is said twice."""
    complete = resolve(Recipe(**QUICK, image=image, mask_image=mask, **more))
    lines = [line for line in before_run(complete) if line.startswith("`mask_image`: ")]
    assert before_run(resolve(complete)) == before_run(complete) and len(set(lines)) == len(lines)
    assert not any("\n" in line for line in lines)
    return tuple(line.removeprefix("`mask_image`: ") for line in lines)


def test_a_plain_mask_says_nothing(scene: Any) -> None:
    assert said(scene.image, square()) == ()


def test_an_empty_and_a_full_mask_run_and_say_so(scene: Any) -> None:
    assert said(scene.image, Image.new("L", (128, 128))) == (masks.EMPTY,)
    assert said(scene.image, Image.new("L", (128, 128), 255)) == (masks.FULL,)


def test_a_colour_photograph_as_a_mask_says_so(scene: Any) -> None:
    # Its muted colours are each near the next channel's, and red is far from blue.
    assert masks.COLOURED in said(scene.image, scene.image)
    assert masks.COLOURED not in said(scene.image, scene.image.convert("L"))


def test_a_mask_of_another_shape_says_so(scene: Any) -> None:
    (line,) = said(scene.image, square(256, (0, 0, 99, 99)).crop((0, 0, 256, 200)))
    assert line.startswith(SHAPE)


def test_a_line_that_is_gone_at_the_size_of_the_run_says_so() -> None:
    thin = Image.new("L", (2048, 2048))
    ImageDraw.Draw(thin).line((0, 100, 2047, 100), fill=255)
    image = Image.fromarray(np.full((2048, 2048, 3), 90, np.uint8))
    assert Picture.of(thin).notices == () and said(image, thin) == (masks.DIM,)
    assert said(image, thin, mask_grow=20) == ()


def test_what_lies_outside_a_cropped_picture_says_so() -> None:
    wide, left = Image.new("RGB", (256, 128), "red"), Image.new("L", (256, 128))
    left.paste(255, (0, 0, 40, 128))
    assert said(wide, left) == ()
    assert said(wide, left, width=128, height=128, resize_mode="crop") == (masks.EMPTY,)
    with pytest.raises(ParameterError, match="`mask_crop` must be given with a mask that is not black everywhere"):
        said(wide, left, width=128, height=128, resize_mode="crop", mask_crop=8)


@pytest.mark.parametrize(
    "model",
    [name for name, one in PRESETS.items() if not any(mode.endswith("+mask") for mode in (*one.pipelines, *one.broken))],
)
def test_a_mask_on_a_family_without_inpainting_names_those_that_inpaint(model: str, scene: Any) -> None:
    with pytest.raises(ParameterError, match=r"`mask_image` is not taken by .*, or take a model that inpaints: sd15,"):
        resolve(Recipe(prompt="a", image=scene.image, model=model, checkpoint=None, mask_image=square()))

"""Sizes: a circle stays a circle, and what lies over the initial picture stays where it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.fitting import fitted_size
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.sizes import KEPT, fitted_pictures
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.store.store import Store


def with_circle(width: int, height: int, scale: float = 1.0) -> Image.Image:
    """A black picture with a white circle in its middle, at a part of that size."""
    image = Image.new("RGB", (round(width * scale), round(height * scale)))
    radius = min(width, height) * 0.2
    box = [(side / 2 + sign * radius) * scale for sign in (-1, 1) for side in (width, height)]
    ImageDraw.Draw(image).ellipse(box, fill="white")
    return image


def extent(image: Image.Image) -> tuple[int, int, int, int]:
    """Return how far the circle reaches from the middle of a picture: left, right, up and down, in pixels."""
    white = np.asarray(image.convert("L")) > 127
    row, column = white[white.shape[0] // 2], white[:, white.shape[1] // 2]
    parts = row[: len(row) // 2][::-1], row[len(row) // 2 :], column[: len(column) // 2][::-1], column[len(column) // 2 :]
    left, right, up, down = (int(np.argmin(part)) if not part.all() else len(part) for part in parts)
    return left, right, up, down


def sides(image: Image.Image) -> tuple[int, int]:
    left, right, up, down = extent(image)
    return left + right, up + down


@pytest.mark.parametrize("model", ["sd15", "x2-upscaler", "kandinsky22"])
@pytest.mark.parametrize("mode", [None, "fit", "crop", "pad"])
@pytest.mark.parametrize("size", [(256, 64), (64, 256), (256, 128), (300, 200), (128, 128), (75, 150)], ids=str)
def test_a_circle_stays_a_circle_whatever_size_is_asked_for(model: str, mode: str | None, size: tuple[int, int]) -> None:
    # A wider one would cut the circle in "crop".
    for asked in ((128, 128), (256, 128), (128, 256), *([] if mode == "crop" else [(512, 128)])):
        recipe = Recipe(prompt="a", model=model, image=with_circle(*size), resize_mode=mode, width=asked[0], height=asked[1])
        complete = resolve(recipe)
        width, height = sides(fitted_pictures(complete)["image"])
        multiple = 64 if model == "kandinsky22" else 16 if model == "x2-upscaler" else 8
        whole = fitted_pictures(complete)["image"].size
        # To within the multiple of the size, which "fit" keeps to.
        share = multiple / min(whole) if mode in (None, "fit") else 0
        assert abs(width - height) <= share * max(width, height) + 2, (asked, whole)
        if mode in ("crop", "pad"):
            assert (complete.width, complete.height) == asked
        assert resolve(complete) == complete


def test_stretch_fills_the_size_as_diffusers_does() -> None:
    from diffusers.image_processor import VaeImageProcessor

    wide = with_circle(256, 64)
    complete = resolve(Recipe(prompt="a", image=wide, resize_mode="stretch", width=128, height=128))
    made = fitted_pictures(complete)["image"]
    assert made.tobytes() == VaeImageProcessor().resize(wide, 128, 128).tobytes()
    assert complete.image.notices == ()


SIDES = st.integers(1, 64).map(lambda side: side * 64 // 8 * 8)


@given(
    st.tuples(st.integers(64, 3000), st.integers(64, 3000)),
    SIDES,
    SIDES,
    st.sampled_from((8, 16, 64)),
    st.sampled_from((128, 512)),
)
def test_fit_takes_the_largest_size_inside_and_stays_there(
    size: tuple[int, int], width: int, height: int, multiple: int, limit: int
) -> None:
    try:
        made = fitted_size(size, width=width, height=height, multiple=multiple, limit=limit)
    except ParameterError as error:
        assert "which gives" in str(error) and 64 * max(size) > 4000 * min(size)
        return
    assert made == fitted_size(size, width=made[0], height=made[1], multiple=multiple, limit=limit)
    if made == fitted_size(size, width=None, height=None, multiple=multiple, limit=limit):
        return
    if made == (width, height):
        # The box is the picture's own shape, to a multiple, by one of its sides.
        assert min(abs(width - height * size[0] / size[1]), abs(height - width * size[1] / size[0])) <= multiple
        return
    scale = min(width / size[0], height / size[1])
    if min(size) * scale < 64 - multiple / 2:
        assert min(made) == 64
        scale = 64 / min(size)
    else:
        assert made[0] <= max(width, 64) and made[1] <= max(height, 64)
    assert max(abs(made[0] - size[0] * scale), abs(made[1] - size[1] * scale)) <= max(multiple, scale * multiple)


def test_a_size_that_is_not_kept_is_said_with_what_keeps_it() -> None:
    wide = with_circle(256, 128)
    said = resolve(Recipe(prompt="a", image=wide, width=128, height=128)).image.notices
    assert said == (f"{KEPT}: 128x64 is made where 128x128 was asked for; crop, pad and stretch fill 128x128",)
    for values in ({"width": 128}, {"width": 128, "height": 64}, {"width": 128, "height": 128, "resize_mode": "crop"}, {}):
        assert resolve(Recipe(prompt="a", image=wide, **values)).image.notices == ()
    # A complete recipe with another size says no more what was asked before.
    complete = resolve(Recipe(prompt="a", image=wide, width=128, height=128))
    assert resolve(complete.replace(width=256, height=None)).image.notices == ()


@pytest.mark.parametrize("mode", ["fit", "crop", "pad", "stretch"])
@pytest.mark.parametrize("asked", [(128, 128), (128, 64), (64, 192)], ids=str)
def test_masks_and_control_pictures_lie_where_they_lay(mode: str, asked: tuple[int, int]) -> None:
    image = with_circle(240, 120)
    values: dict[str, Any] = {"prompt": "a", "image": image, "resize_mode": mode, "width": asked[0], "height": asked[1]}
    for scale in (0.25, 0.5, 1.0, 2.0):
        other = with_circle(240, 120, scale)
        masked = fitted_pictures(resolve(Recipe(**values, mask_image=other)))
        steered = fitted_pictures(resolve(Recipe(**values, controlnet="depth", control_image=other)))
        for name, pictures in (("mask_image", masked), ("control_image", steered)):
            apart = np.abs(np.subtract(extent(pictures[name]), extent(pictures["image"])))
            assert apart.max() <= 1 + 1 / scale, (name, scale)


@pytest.mark.parametrize("mode", ["fit", "crop", "pad", "stretch"])
def test_a_mask_of_another_shape_covers_the_whole_initial_picture(mode: str) -> None:
    left = Image.new("L", (100, 100))
    left.paste(255, (0, 0, 50, 100))
    values: dict[str, Any] = {"image": Image.new("RGB", (256, 128)), "resize_mode": mode, "width": 128, "height": 128}
    complete = resolve(Recipe(prompt="a", mask_image=left, **values))
    mask = np.asarray(fitted_pictures(complete)["mask_image"])
    middle = mask[mask.shape[0] // 2]
    assert (middle[: len(middle) // 2] == 255).all() and (middle[len(middle) // 2 :] == 0).all()
    assert any("another shape" in line for line in complete.mask.image.notices)
    # "crop" keeps the middle half of this picture, and none of its left quarter.
    quarter = Image.new("L", (100, 100))
    quarter.paste(255, (0, 0, 25, 100))
    cut = fitted_pictures(resolve(Recipe(prompt="a", mask_image=quarter, **values)))["mask_image"]
    assert mode != "crop" or cut.getextrema() == (0, 0)
    # Borders that were added are redrawn.
    assert mode != "pad" or ((mask[:32] == 255).all() and (mask[96:] == 255).all())


def test_a_mask_of_the_size_of_the_run_is_used_as_it_is() -> None:
    mask = with_circle(128, 128)
    for mode in ("crop", "pad", "stretch"):
        values: dict[str, Any] = {"image": with_circle(256, 128), "resize_mode": mode, "width": 128, "height": 128}
        complete = resolve(Recipe(prompt="a", mask_image=mask, **values))
        assert fitted_pictures(complete)["mask_image"].tobytes() == mask.convert("L").tobytes()
        assert complete.mask.image.notices == ()


def test_without_an_initial_picture_the_control_picture_gives_the_proportions() -> None:
    given: dict[str, Any] = {"prompt": "a", "controlnet": "depth", "control_image": with_circle(256, 128), "seed": 1}
    for values, expected in (({}, (128, 64)), ({"width": 256}, (256, 128)), ({"width": 128, "height": 128}, (128, 64))):
        complete = resolve(Recipe(**given, **values))
        assert (complete.width, complete.height) == expected
        assert len(set(sides(fitted_pictures(complete)["control_image"]))) == 1
    cropped = Recipe(**given, width=128, height=128, resize_mode="crop")
    assert (resolve(cropped).width, resolve(cropped).height) == (128, 128)
    assert "resize_mode" in settable(cropped) and "resize_mode" not in settable(Recipe(prompt="a"))
    asked = parse_cell("txt2img", "--width 128 --height 128 --resize-mode crop", "a")
    with pytest.raises(ParameterError, match="`resize_mode` needs an initial picture"):
        resolve(Recipe(**asked.values))


def test_a_grid_over_sizes_distorts_nothing_and_computes_equal_cells_once(tmp_path: Any) -> None:
    recipe = Recipe(prompt="a", image=with_circle(256, 128), num_inference_steps=2, guidance_scale=1.0, strength=0.5, seed=1)
    grid = nbdiffuse.sweep(recipe, Store(tmp_path), width=(128, 192), height=(64, 128)).run()
    made = [grid[index] for index in range(4)]
    assert [cell.image.size for cell in made] == [(128, 64), (128, 64), (128, 64), (192, 96)]
    assert made[0].image is made[1].image or made[0].image.tobytes() == made[1].image.tobytes()
    assert len({cell.recipe for cell in made}) == 2

"""Masks combine as sets do, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_surfaces import square
from PIL import Image, ImageDraw, ImageFilter

from nbdiffuse import Picture, Recipe
from nbdiffuse.errors import ImageInputError, ParameterError
from nbdiffuse.images import masks
from nbdiffuse.images.mask_arithmetic import blurred, difference, grown, intersection, inverted, union


def random_mask(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (12, 17), dtype=np.uint8)


def pixels(mask: Picture) -> np.ndarray[Any, Any]:
    assert mask.read_as_mask
    return np.asarray(mask.image.convert("L"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99))
def test_masks_combine_as_fuzzy_sets(first: int, second: int) -> None:
    a, b = random_mask(first), random_mask(second)
    assert np.array_equal(pixels(union(a, b)), np.maximum(a, b))
    assert np.array_equal(pixels(intersection(a, b)), np.minimum(a, b))
    assert np.array_equal(pixels(difference(a, b)), np.minimum(a, 255 - b))
    assert union(a, b) == union(b, a) and intersection(a, b) == intersection(b, a)
    # De Morgan, and what is left of a mask without another and with it again.
    assert inverted(union(a, b)) == intersection(inverted(a), inverted(b))
    assert difference(a, b) == intersection(a, inverted(b)) and inverted(inverted(a)) == Picture.of(a)


def test_shapes_are_those_of_the_options() -> None:
    assert grown(square(), 3) == Picture.of(square().filter(ImageFilter.MaxFilter(7)))
    assert grown(square(), -3) == Picture.of(square().filter(ImageFilter.MinFilter(7)))
    assert blurred(square(), 2.5) == Picture.of(square().filter(ImageFilter.GaussianBlur(2.5)))
    assert blurred(square(), 0) == grown(square(), 0) == Picture.of(square())


def test_whatever_a_recipe_takes_as_a_mask_is_taken(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (128, 128))
    ImageDraw.Draw(layer).rectangle((48, 40, 79, 71), fill=(255, 0, 0, 255))
    layer.save(tmp_path / "layer.png")
    empty = Image.new("L", (128, 128))
    for source in (layer, tmp_path / "layer.png", np.asarray(square()), Picture.of(square()), Picture.of(layer)):
        made = union(source, empty)
        assert made == Picture.of(square()) == Recipe(mask_image=source).mask.image
        assert Recipe(mask_image=made).mask.image is made


def test_a_mask_that_comes_out_empty_or_full_says_so() -> None:
    assert difference(square(), square()).notices == (masks.EMPTY,)
    assert union(square(), inverted(square())).notices == (masks.FULL,)


def test_what_does_not_fit_is_one_line() -> None:
    for function in (union, intersection, difference):
        with pytest.raises(
            ImageInputError, match=r"`second mask` must be of the first one's size, 128x128, got 64x64\. Resize one"
        ):
            function(square(), square(64))
    for wrong in (257, -257, 1.5, True, "3"):
        with pytest.raises(ParameterError, match=r"`n` must be a whole number of pixels in \[-256, 256\], got"):
            grown(square(), wrong)  # type: ignore[arg-type]
    for wrong in (-1, 257, float("nan"), True, "3"):
        with pytest.raises(ParameterError, match=r"`r` must be a number of pixels in \[0, 256\], got"):
            blurred(square(), wrong)  # type: ignore[arg-type]

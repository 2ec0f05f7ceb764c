"""Comparisons: what differs, in parameters and in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.store.compare import Comparison, Side, changed, distance

pytestmark = pytest.mark.quick

NOISE = Image.effect_noise((32, 32), 60).convert("RGB")


def side(name: str, image: Image.Image = NOISE, fingerprint: dict[str, str] | None = None, **values: Any) -> Side:
    return Side(name, resolve(Recipe(prompt="a cat", seed=1, **values)), fingerprint or {"torch": "2.13"}, image)


def test_only_what_differs_is_shown() -> None:
    compared = Comparison(side("one", guidance_scale=5), side("other", NOISE, {"torch": "2.14"}, guidance_scale=7.5))
    assert compared.differences == (("guidance_scale", "5", "7.5"), ("torch", "2.13", "2.14"))
    assert "the pixels are identical" in repr(compared)


def test_equal_sides_say_so() -> None:
    assert "no parameter differs" in repr(Comparison(side("one"), side("two")))
    assert "no parameter differs" in Comparison(side("one"), side("two")).to_html()


def test_the_distance_is_measured_in_steps_of_a_channel() -> None:
    pixels = np.asarray(NOISE).copy()
    pixels[0, 0, 0] ^= 8
    apart = distance(NOISE, Image.fromarray(pixels))
    assert apart is not None and (apart.largest, apart.mean) == (8, 8 / pixels.size)
    assert apart.ssim is not None and 0.9 < apart.ssim < 1
    assert distance(NOISE, NOISE.crop((0, 0, 8, 8))) is None
    assert distance(NOISE, NOISE).ssim == 1.0  # type: ignore[union-attr]


def test_pictures_of_other_sizes_are_compared_by_their_sizes() -> None:
    assert "sizes differ: 32x32 and 8x8" in repr(Comparison(side("one"), side("two", NOISE.crop((0, 0, 8, 8)))))


def test_text_from_outside_is_shown_as_text() -> None:
    compared = Comparison(side("<i>one</i>"), side("two", negative_prompt="\x1b[31m<script>\nline"))
    assert "<script" not in compared.to_html() and "<i>one" not in compared.to_html()
    assert all(line.isprintable() for line in repr(compared).splitlines())


def test_what_one_fingerprint_lacks_is_a_dash() -> None:
    assert changed({"torch": "1", "gone": "x"}, {"torch": "1", "new": "y"}) == (("gone", "x", "-"), ("new", "-", "y"))

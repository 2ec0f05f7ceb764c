"""Registration: moves of drawn scenes are found as they were made, and none where nothing moved."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from moved_scenes import jpeg, seen
from PIL import Image

from nbdiffuse.embedded.world import sample
from nbdiffuse.embedded.world.edits import KINDS, sample_edit
from nbdiffuse.images.registration import Registration, register, registered

ALL = 200
SIZES = (128, 256)


def moves(count: int) -> list[tuple[int, int, float, float, float, float]]:
    """Return seeds, sizes, zooms, turns and shifts, from a quarter of a pixel to 20."""
    drawn, rng = [], Random(1)
    for index in range(count):
        length, way = 0.25 * 80 ** rng.random(), rng.uniform(0, math.tau)
        zoom, turned = rng.choice([1.0, rng.uniform(0.9, 1.1)]), rng.choice([0.0, rng.uniform(-3, 3)])
        drawn.append((index, SIZES[index % 2], zoom, turned, length * math.cos(way), length * math.sin(way)))
    return drawn


def check_moves(count: int) -> None:
    for seed, size, zoom, turned, right, down in moves(count):
        before, after = seen(seed, size), seen(seed, size, zoom=zoom, turned=turned, right=right, down=down)
        found = register(before, after)
        assert math.hypot(found.right - right, found.down - down) < 0.25, (seed, found)
        assert abs(found.zoom - zoom) < 0.005 and abs(found.rotation - turned) < 0.25, (seed, found)


def check_still(count: int) -> None:
    for seed in range(count):
        picture = sample(seed, SIZES[seed % 2]).image
        noise = np.random.default_rng(seed).normal(0, 4, (*picture.size, 3))
        noisy = Image.fromarray((np.asarray(jpeg(picture, 60)) + noise).clip(0, 255).astype(np.uint8))
        assert register(picture, picture).shift == 0 == register(picture, noisy).shift, seed
        edit = sample_edit(seed, SIZES[seed % 2], KINDS[seed % 3])
        assert register(edit.scene.image, jpeg(edit.result)).shift == 0, (seed, "what was edited is no move")


def test_shifts_zooms_and_turns_are_found_as_they_were_made() -> None:
    check_moves(ALL // 10)


def test_nothing_moves_in_an_untouched_picture_nor_in_one_that_was_only_edited() -> None:
    check_still(ALL // 10)


@pytest.mark.slow
def test_all_shifts_zooms_and_turns_are_found() -> None:
    check_moves(ALL)


@pytest.mark.slow
def test_nothing_moves_in_two_hundred_pictures() -> None:
    check_still(ALL)


def test_a_move_is_found_beside_an_edit_of_most_of_what_is_seen() -> None:
    found = 0
    for seed in range(10):
        edit = sample_edit(seed, 768, "subject")
        place = register(seen(seed, 256), seen(seed, 256, right=9, down=-4, drawn=edit.result))
        found += abs(place.right - 9) < 0.5 and abs(place.down + 4) < 0.5 and abs(place.zoom - 1) < 0.005
    assert found >= 7


def test_a_picture_of_any_shape_is_measured_in_its_own_pixels() -> None:
    for box in ((0, 0, 256, 128), (60, 0, 160, 256)):
        before, after = seen(3, 256).crop(box), seen(3, 256, right=6).crop(box)
        assert abs(register(before, after).right - 6) < 0.25
    large, moved = (seen(3, 512, right=right) for right in (0, 15))
    assert abs(register(large, moved).right - 15) < 0.5
    for color in ("white", "teal"):
        even = Image.new("RGB", (64, 64), color)
        assert register(even, even).shift == 0 == register(seen(3, 64), even).shift
    assert register(seen(3, 16), seen(3, 16)).shift == 0


def test_a_picture_is_brought_back_to_where_it_was() -> None:
    before, after = seen(5, 256), seen(5, 256, zoom=1.05, turned=2, right=8, down=-5)
    back = registered(after, before, register(before, after))
    apart = np.abs(np.asarray(back, float) - np.asarray(before))
    assert np.median(apart) <= 1 and apart.mean() < 3 < np.abs(np.asarray(after, float) - np.asarray(before)).mean()
    assert register(before, back).shift < 0.1
    # What the zoom and the shift took beyond the border is the initial picture's own.
    out = registered(seen(5, 256, right=40), before, register(before, seen(5, 256, right=40)))
    assert np.array_equal(np.asarray(out)[:, 220:], np.asarray(before)[:, 220:])


@pytest.mark.quick
def test_a_move_is_said_in_words() -> None:
    def said(right: float = 0, down: float = 0, zoom: float = 1, rotation: float = 0) -> Registration:
        return Registration(right, down, zoom, rotation, (512, 512), 1.0)

    assert str(said(14.2, zoom=1.031)) == "moved 14 px right, zoom 1.03" and said(14.2).worth_a_notice
    assert str(said(-1.25, 3, rotation=-2)) == "moved 1.2 px left and 3.0 px down, turned 2.0° counter-clockwise"
    assert str(said()) == "not moved" and not said(0.3).worth_a_notice and said(3, 4).shift == 5
    assert said(zoom=1.03).shift == pytest.approx(0.03 * 512 / math.sqrt(6))

"""The world: every scene is the same drawing at every size, on every layer."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nbdiffuse.embedded.world import PALETTES, PARTS, PLACES, STYLES, SUBJECTS, Scene, sample

pytestmark = pytest.mark.quick


def test_equal_seeds_give_equal_scenes() -> None:
    assert np.array_equal(np.asarray(sample(5).image), np.asarray(sample(5).image))
    assert sample(5).caption == sample(5).caption
    assert not np.array_equal(np.asarray(sample(5).image), np.asarray(sample(6).image))


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("place", PLACES)
def test_layers_agree(subject: str, place: str) -> None:
    scene = Scene(3, 64, subject, place, "natural")
    assert scene.image.mode == "RGB" and scene.depth.mode == scene.mask.mode == "L"
    assert scene.image.size == scene.depth.size == scene.mask.size == (64, 64)
    mask, depth = np.asarray(scene.mask), np.asarray(scene.depth)
    assert 0.05 < (mask == 255).mean() < 0.5
    assert (depth[mask == 255] == 225).all() and depth[mask == 0].max() < 225


def test_every_part_has_a_mask_of_its_own() -> None:
    seen = set()
    for seed in range(60):
        scene = sample(seed, size=48)
        masks = {part: np.asarray(scene.mask_of(part)).astype(int) for part in PARTS}
        assert np.array_equal(masks["subject"], np.asarray(scene.mask)) and (masks["subject"] + masks["background"] == 255).all()
        # What belongs to one part belongs to no other; the sky has the sun, the moon and the clouds in it.
        apart = [masks[part] for part in ("subject", "sky", "ground", "water", "buildings", "mountains")]
        assert sum(apart).max() <= 259, scene
        assert all((masks[part] <= masks["sky"] + 2).all() for part in ("sun", "moon", "clouds"))
        seen |= {(scene.place, part) for part, mask in masks.items() if mask.any()}
        assert np.array_equal(np.asarray(scene.mask_of(scene.subject)), np.asarray(scene.mask))
        other = next(one for one in SUBJECTS if one not in scene.subject)
        assert not np.asarray(scene.mask_of(other)).any()
    where = {("ocean", "water"), ("city", "buildings"), ("mountains", "mountains"), ("desert", "sun"), ("night", "moon")}
    assert where | {(place, "ground") for place in PLACES} | {("ocean", "clouds"), ("snow", "sky")} <= seen
    assert ("jungle", "sky") not in seen and ("desert", "water") not in seen


def test_the_same_scene_at_another_size_is_the_same_drawing() -> None:
    small, large = sample(9, size=64).image, sample(9, size=256).image.resize((64, 64), Image.Resampling.BOX)
    difference = np.abs(np.asarray(small, float) - np.asarray(large, float)).mean()
    assert difference < 3


def test_captions_name_what_is_seen() -> None:
    for seed in range(50):
        scene = sample(seed)
        assert scene.subject in scene.caption.lower() and scene.place in scene.caption.lower()


@pytest.mark.parametrize("style", STYLES)
def test_styles_change_the_picture_and_the_caption(style: str) -> None:
    plain, styled = sample(4), sample(4, style=style)
    assert styled.caption != plain.caption
    assert np.abs(np.asarray(plain.image, float) - np.asarray(styled.image, float)).mean() > 1


@pytest.mark.parametrize("palette", PALETTES)
def test_every_palette_gives_a_picture_of_its_own(palette: str) -> None:
    others = [p for p in PALETTES if p != palette]
    pixels = {p: np.asarray(Scene(1, 64, "cat", "city", p).image, float) for p in PALETTES}
    assert all(np.abs(pixels[palette] - pixels[other]).mean() > 5 for other in others)

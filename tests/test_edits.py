"""Edits of the drawn world: one thing is changed, the words say which, and the rest stays to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from nbdiffuse.embedded import recogniser
from nbdiffuse.embedded.world import PALETTES, sample
from nbdiffuse.embedded.world.edits import KINDS, graded, others, palette_asks, redrawn, sample_edit


def test_a_scene_redrawn_as_it_is_is_the_worlds_own() -> None:
    for seed in range(5):
        scene = sample(seed)
        same = graded(redrawn(scene, scene.subject, scene.place), scene.palette)
        assert np.array_equal(np.asarray(same), np.asarray(scene.image))


def test_another_subject_leaves_the_place_around_it_to_the_pixel() -> None:
    for seed in range(8):
        edit = sample_edit(seed, kind="subject")
        before, after = (np.asarray(image) for image in (edit.scene.image, edit.result))
        assert np.array_equal(before[:12], after[:12]), "no subject reaches so high"
        assert (before != after).any(axis=-1).mean() < 0.6


def test_another_place_leaves_the_subject_to_the_pixel() -> None:
    for seed in range(8):
        edit = sample_edit(seed, kind="place")
        inside = np.asarray(edit.scene.mask) == 255
        before, after = (np.asarray(image) for image in (edit.scene.image, edit.result))
        assert np.array_equal(before[inside], after[inside])
        assert (before[~inside] != after[~inside]).any(axis=-1).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_shows_what_was_asked_for_and_keeps_the_rest(kind: str) -> None:
    edits = [sample_edit(3_000_000 + index, kind=kind) for index in range(20)]
    named = recogniser.load().recognise([edit.result for edit in edits])
    for head in KINDS:
        right = [names[head] == getattr(edit.wanted, head) for names, edit in zip(named, edits, strict=True)]
        assert sum(right) >= 19, head


def test_the_words_name_the_new_and_differ_from_scene_to_scene() -> None:
    edits = [sample_edit(index) for index in range(200)]
    assert len({edit.instruction.lower() for edit in edits}) > 120
    for edit in edits:
        names = {"ocean": "ocean", "natural": "natural"}.get(edit.value, edit.value).split()
        said = edit.instruction.lower()
        if edit.kind == "palette" and edit.value != "natural":
            names = palette_asks(edit.scene.palette, edit.value) or []
        assert all(name in said for name in names), (edit.value, said)


def test_a_palette_changes_only_to_one_that_words_lead_to() -> None:
    assert palette_asks("cold muted", "warm muted") == ["warm"]
    assert palette_asks("cold", "warm vivid") == ["warm", "vivid"]
    assert palette_asks("cold muted", "muted") is None, "nothing that is said takes the cold away alone"
    assert palette_asks("cold", "natural") == []
    for seed in range(30):
        scene = sample(seed)
        assert scene.palette not in others(scene, "palette")
        assert set(others(scene, "palette")) < set(PALETTES)

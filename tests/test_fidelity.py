"""Fidelity: what a run changed is measured as it was drawn, and told on every surface."""

from __future__ import annotations

import math
import re
import sys
from random import Random
from typing import Any

import numpy as np
import pytest
from moved_scenes import jpeg, seen
from PIL import Image, ImageCms, ImageDraw

from nbdiffuse import Recipe, Session
from nbdiffuse.embedded.world.edits import Edit, sample_edit
from nbdiffuse.engine.notices import _moved
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.images import fidelity, metrics
from nbdiffuse.images.colors import lab
from nbdiffuse.recipes import comparison
from nbdiffuse.runs.grid import Grid
from nbdiffuse.sweeps.sweep import Sweep

ALL = 200


def edits(count: int) -> list[Edit]:
    return [sample_edit(seed, 256, "subject") for seed in range(count)]


def toned(image: Image.Image, by: tuple[float, ...]) -> Image.Image:
    """Return a picture whose colours are all off by the same in CIELAB, as far as sRGB has them."""
    values = lab(image) + np.array(by)
    bytewise = np.concatenate([values[..., :1] * 2.55, values[..., 1:] % 256], -1).round().clip(0, 255).astype(np.uint8)
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    off = ImageCms.profileToProfile(Image.frombytes("LAB", image.size, bytewise.tobytes()), *profiles, outputMode="RGB")
    assert off is not None
    return off


def apart(first: Image.Image, second: Image.Image) -> Any:
    """Return ΔE for each pixel from the formula of scikit-image, which is not ours."""
    from skimage.color import rgb2lab

    return np.sqrt(((rgb2lab(np.asarray(first)) - rgb2lab(np.asarray(second))) ** 2).sum(-1))


def overlap(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


def tint(image: Image.Image, rng: Random) -> Image.Image:
    """Return a picture each of whose channels is brighter or darker than it was by a share of its own."""
    scales, offsets = ([rng.uniform(*ends) for _ in range(3)] for ends in ((0.85, 1.12), (-8, 8)))
    return Image.fromarray((np.asarray(image) * np.array(scales) + np.array(offsets)).round().clip(0, 255).astype(np.uint8))


def saved(edit: Edit, count: int) -> dict[str, Image.Image]:
    """Return an edit's result as it may come: as drawn, as a JPEG has it, with the colours of all of it off; of few edits two."""
    after, rng = edit.result, Random(edit.scene.seed)
    tinted = tint(after, rng)
    even = toned(after, tuple(rng.uniform(-8, 8) for _ in range(3)))
    ways = {"90": jpeg(after), "75": jpeg(after, 75), "even": even, "tint": tinted, "tint 90": jpeg(tinted)}
    one = [*ways][edit.scene.seed % len(ways)]
    return {"drawn": after, **(ways if count == ALL else {one: ways[one]})}


def check_maps(count: int) -> dict[str, list[float]]:
    """Return how far the maps overlap with what was drawn, by what became of the results."""
    shared: dict[str, list[float]] = {}
    for edit in edits(count):
        truth = apart(edit.scene.image, edit.result) > fidelity.CHANGED
        for kind, image in saved(edit, count).items():
            shared.setdefault(kind, []).append(overlap(fidelity.change_map(edit.scene.image, image), truth))
    for kind, found in shared.items():
        assert np.mean(found) > 0.93, (kind, sorted(found)[:5])
    every = np.array([one for found in shared.values() for one in found])
    assert np.mean(every > 0.9) >= SURE
    assert min(shared["drawn"]) > 0.9
    return shared


SURE = 0.94
"""Share of pictures whose map overlaps by 0.9; those that are left have a part that a tint or a JPEG brings near to another."""


def check_drift(count: int) -> dict[str, list[float]]:
    """Return by how much the drift is off what it is where nothing was edited, by what became of the results."""
    off: dict[str, list[float]] = {}
    for edit in edits(count):
        before, after = edit.scene.image, edit.result
        untouched = (np.asarray(before) == np.asarray(after)).all(-1)
        for kind, image in saved(edit, count).items():
            true = float(np.median(apart(before, image)[untouched]))
            off.setdefault(kind, []).append(abs(fidelity.drift(before, image) - true))
        assert fidelity.drift(before, after) < 0.5
    every = np.array([one for found in off.values() for one in found])
    assert np.mean(every < 1) >= SURE and every.max() < 2.5
    return off


def test_the_map_shows_what_was_edited() -> None:
    check_maps(ALL // 10)


def test_the_drift_of_colours_is_that_of_what_was_not_edited() -> None:
    check_drift(ALL // 10)


@pytest.mark.slow
def test_all_maps_and_drifts_are_those_that_were_drawn() -> None:
    check_maps(ALL)
    check_drift(ALL)


def test_nothing_is_said_of_an_untouched_picture() -> None:
    for edit in edits(ALL // 10):
        found = fidelity.compare(edit.scene.image, jpeg(edit.scene.image))
        assert found.kept > 0.9 and found.shift == 0 and found.drift < 2
        same = fidelity.compare(edit.scene.image, edit.scene.image)
        assert (same.kept, same.outside, same.shift, same.drift) == (1, 0, 0, 0)


def test_kept_is_of_what_lies_outside_a_mask_where_there_is_one() -> None:
    before = Image.new("RGB", (100, 100), "teal")
    after, mask = before.copy(), Image.new("L", (50, 50))
    ImageDraw.Draw(after).rectangle((0, 0, 49, 99), fill="white")
    ImageDraw.Draw(mask).rectangle((0, 0, 24, 49), fill=255)
    assert fidelity.kept(before, after) == pytest.approx(0.5, abs=0.01) and fidelity.kept(before, after, mask) == 1
    inverted = mask.point(lambda value: 255 - value)
    assert fidelity.kept(before, after, inverted) == 0
    found, other = fidelity.compare(before, after, mask), fidelity.compare(before, after, inverted)
    assert found.outside == 0 and other.outside > 0.8 and found.asked
    assert fidelity.kept(before, after, Image.new("L", (100, 100), 255)) == 1, "nothing has to stay"
    alone = fidelity.compare(before, after)
    assert not alone.asked and alone.outside == 0 and alone.allowed[:, :49].all()


def test_a_move_counts_as_change_and_is_told_apart() -> None:
    before, after = seen(4, 256), seen(4, 256, right=12)
    found = fidelity.compare(before, after)
    assert found.kept < 0.95 and found.shift == pytest.approx(12, abs=0.25) and found.drift < 2
    assert (
        fidelity.shift(before, after) == found.shift
        and "moved 12 px right" in str(found)
        and repr(found) == "comparison: kept, outside, shift, drift"
    )
    assert fidelity.compare(before.resize((128, 128)), after).shift == pytest.approx(12, abs=0.5)


def test_it_shows_itself_with_words_for_who_does_not_see_it() -> None:
    edit = sample_edit(3, 128, "subject")
    found = fidelity.compare(edit.scene.image, edit.result, edit.scene.mask)
    html = found.to_html()
    told = re.findall('alt="([^"]*)"', html)
    assert told[:2] == ["the initial picture", "the result"] and re.match("map of what changed: [0-9]+% of the picture", told[2])
    assert "color:" not in html and "<script" not in html and f"{found.kept:.0%}" in html and "identity" not in html
    shown = np.asarray(found.map_image, int)
    orange = shown[..., 0] - shown[..., 2] > 60
    assert overlap(orange, found.changed & found.allowed) > 0.95
    assert fidelity.Fidelity._repr_mimebundle_(found)["text/plain"] == repr(found)


@pytest.fixture
def edited(session: Session) -> Any:
    edit = sample_edit(3_000_001, 128, "subject")
    return session.run(Recipe(model="edit", image=edit.scene.image, prompt=edit.instruction, num_inference_steps=4, seed=1))


def test_a_result_compares_itself_with_where_it_began(edited: Any, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    found = edited.compare()
    assert (found.initial, found.image) == (edited.initial, edited.image) and not found.asked and -1 <= found.identity <= 1
    assert edited.compare(Image.new("L", (8, 8), 255)).kept == 1
    mask = Image.new("L", edited.image.size)
    ImageDraw.Draw(mask).rectangle((30, 30, 90, 90), fill=255)
    assert edited.compare(mask).kept == fidelity.kept(edited.initial, edited.image, mask)
    with pytest.raises(ParameterError, match=r"Nothing|nothing"):
        edited.compare("color:#ff00ff~0")
    drawn = session.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1))
    with pytest.raises(ParameterError, match="`compare` needs an initial picture, and this result was made from text alone"):
        drawn.compare()

    def broken(pairs: Any, checkpoint: str) -> list[float]:
        raise NbdiffuseError("no CLIP is here.")

    monkeypatch.setattr(comparison, "_identities", broken)
    assert edited.compare().identity is None and edited.compare().notices == ("`identity` was not measured: no CLIP is here.",)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(NbdiffuseError, match=r"`shift` needs scikit-image, which is not installed. Run `pip install"):
        edited.compare()


def test_a_mask_of_the_recipe_says_what_may_change(session: Session, scene: Any) -> None:
    recipe = Recipe(prompt="a robot", image=scene.image, mask_image=scene.mask, num_inference_steps=2, strength=1.0, seed=1)
    found = session.run(recipe).compare()
    assert found.asked and found.kept == 1 and found.outside == 0 and found.changed.any(), "an exact mask keeps every pixel"
    loose = session.run(recipe.replace(mask_overlay="none")).compare()
    assert loose.drift > found.drift == 0


def test_grids_measure_it_and_choose_by_it(session: Session, scene: Any) -> None:
    recipe = Recipe(prompt="a robot in the desert", image=scene.image, num_inference_steps=8, seed=5)
    grid = Grid(Sweep.of(recipe, strength=[0.25, 0.9]), session).run().measure("kept", "shift", "drift", "identity")
    low, high = grid.records()
    assert (
        low["kept"] > high["kept"] and low["drift"] < high["drift"] and low["identity"] > high["identity"] and low["shift"] == 0
    )
    assert grid.best("kept").recipe.strength == 0.25 and grid.best("drift").recipe.strength == 0.25
    for result, row in zip(grid, (low, high), strict=True):
        found = result.compare()
        assert (found.kept, found.drift, found.shift) == (row["kept"], row["drift"], row["shift"])
        assert found.identity == pytest.approx(row["identity"], abs=1e-5)
    assert grid.heatmap("kept").values


def test_the_identity_of_a_picture_with_itself_is_one(scene: Any) -> None:
    import torch

    from nbdiffuse.embedded.world import sample
    from nbdiffuse.pipelines.scorers import identities

    others = [sample(seed, 128).image for seed in range(20)]
    scores = identities("clip", [(scene.image, scene.image), *((scene.image, other) for other in others)], torch.device("cpu"))
    assert scores[0] == pytest.approx(1, abs=1e-5) and max(scores[1:]) < 1


def test_a_move_of_an_edit_is_a_notice_and_nothing_else_is(edited: Any) -> None:
    before, moved = seen(4, 256), seen(4, 256, right=14)
    assert _moved(edited.recipe, before, [moved, moved]) == ("The picture was moved 14 px right.",)
    assert _moved(edited.recipe, before, [before]) == () == _moved(edited.recipe, None, [moved])
    assert _moved(Recipe(prompt="a cat", image=before), before, [moved]) == ()
    assert not any("moved" in line for line in edited.notices)


@pytest.mark.quick
def test_metrics_say_what_they_need() -> None:
    known = metrics.METRICS
    assert not known["shift"].higher_is_better and known["kept"].higher_is_better and not known["kept"].libraries
    assert set(fidelity.MEASURES) | {"identity"} < set(known)
    assert math.isclose(float(lab(Image.new("RGB", (2, 2), "white"))[0, 0, 0]), 100, abs_tol=0.5)

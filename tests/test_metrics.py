"""Metrics: what they say of pictures, and how a grid measures, chooses and shows by them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hub import Hub
from PIL import Image, ImageFilter, ImageOps

from nbdiffuse import Recipe, embedded
from nbdiffuse.errors import CheckpointError, NbdiffuseError, ParameterError, RunError
from nbdiffuse.images import metrics
from nbdiffuse.images.metrics import METRICS
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.sweeps.sweep import Sweep

SUBJECTS = ("cat", "robot", "rocket", "house", "tree", "penguin")


@pytest.fixture
def grid(scene: Any) -> Grid:
    recipe = Recipe(prompt="a robot in the desert", image=scene.image, num_inference_steps=8, seed=5, scheduler="DDIM")
    return Grid(Sweep.of(recipe, strength=[0.25, 0.3, 1.0], guidance_scale=[1, 7.5]))


def test_a_picture_is_wholly_like_itself_and_less_the_more_it_is_blurred(scene: Any) -> None:
    pictures = [scene.image, *(scene.image.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 4, 8))]
    for compare in (metrics.ssim, metrics.structure):
        values = [compare(scene.image, picture) for picture in pictures]
        assert values[0] == pytest.approx(1) and values == sorted(values, reverse=True) and 0 <= values[-1] < 0.7


def test_structure_looks_at_edges_and_not_at_colours(scene: Any) -> None:
    inverted, mirrored = ImageOps.invert(scene.image), ImageOps.mirror(scene.image)
    assert metrics.structure(scene.image, inverted) > 0.95 > 0.6 > metrics.structure(scene.image, mirrored)
    assert metrics.ssim(scene.image, inverted) < metrics.ssim(scene.image, mirrored)
    even = Image.new("RGB", scene.image.size, "teal")
    assert metrics.structure(even, Image.new("RGB", even.size, "red")) == 1 and metrics.structure(even, scene.image) == 0


def test_ssim_is_symmetric_and_takes_tiny_pictures_and_other_sizes(scene: Any) -> None:
    blurred = scene.image.filter(ImageFilter.GaussianBlur(2))
    assert metrics.ssim(scene.image, blurred) == pytest.approx(metrics.ssim(blurred, scene.image))
    tiny = scene.image.resize((4, 3))
    assert metrics.ssim(tiny, tiny) == pytest.approx(1)
    assert metrics.ssim(scene.image.resize((256, 256)), scene.image) > 0.9


def test_the_shipped_clip_knows_which_words_go_with_which_picture() -> None:
    import torch

    from nbdiffuse.pipelines.scorers import prompt_scores

    scenes = [embedded.world.sample(4_000_000 + index) for index in range(20)]
    texts = [scene.captioned(Random(scene.seed)) for scene in scenes]
    pairs = [(text, scene.image) for text in texts for scene in scenes]
    scores = np.reshape(prompt_scores("clip", pairs, torch.device("cpu")), (len(scenes), len(scenes)))
    assert (np.abs(scores) <= 1).all()
    # By chance one in 20 would be right.
    assert (scores.argmax(1) == np.arange(len(scenes))).mean() > 0.6


def test_scores_do_not_depend_on_what_else_is_scored(scene: Any) -> None:
    import torch

    from nbdiffuse.pipelines.scorers import AT_ONCE, prompt_scores

    pairs = [(f"a {subject} with a very long tail " * 30, scene.image) for subject in SUBJECTS * 4] + [("a tree", scene.image)]
    together = prompt_scores("clip", pairs, torch.device("cpu"))
    assert len(together) == len(pairs) > AT_ONCE
    assert together[-1] == pytest.approx(prompt_scores("clip", pairs[-1:], torch.device("cpu"))[0], abs=1e-5)


def test_a_grid_measures_each_distinct_image_once_and_tells_in_its_records(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    real = metrics.ssim
    monkeypatch.setattr(metrics, "ssim", lambda *pair: counted.append(pair) or real(*pair))
    assert "ssim" not in grid.run().records()[0]
    grid.measure("ssim").measure("ssim", "structure", "prompt_score")
    rows = grid.records()
    assert len(counted) == 4 and [row["ssim"] for row in rows[:2]] == [row["ssim"] for row in rows[2:4]]
    for result, row in zip(grid, rows, strict=True):
        assert result.initial is not None
        assert row["ssim"] == real(result.initial, result.image)
        assert row["structure"] == metrics.structure(result.initial, result.image)
    assert min(row["ssim"] for row in rows[:4]) > max(row["ssim"] for row in rows[4:])
    assert list(grid.to_frame()["prompt_score"]) == [row["prompt_score"] for row in rows]
    # The part of a grid knows what was measured of the whole.
    assert grid.sel(strength=1.0).records()[0]["ssim"] == rows[4]["ssim"] and len(counted) == 4


def test_best_is_the_first_cell_that_no_other_beats(grid: Grid) -> None:
    grid.run()
    for name in ("ssim", "structure", "prompt_score"):
        rows = grid.measure(name).records()
        values = [row[name] for row in rows]
        assert grid.best(name).recipe == grid[values.index(max(values))].recipe
    assert grid.best(by=lambda result: -result.recipe.strength).recipe == grid[0].recipe
    assert grid.best(by=lambda result: float(np.asarray(result.image).mean())).image in [result.image for result in grid]


def test_what_cannot_be_measured_is_one_clear_line(grid: Grid, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"No cell of the grid is finished.*`grid.run\(\)`"):
        grid.best("ssim")
    grid.run()
    with pytest.raises(ParameterError, match=r"`metric` must be one of ssim.* Did you mean 'ssim'"):
        grid.measure("ssimm")
    with pytest.raises(ParameterError, match="`by` must be the name of a metric, or a function of a result, got 3"):
        grid.best(3)  # type: ignore[arg-type]
    for number in (None, "much", float("nan")):
        with pytest.raises(ParameterError, match="`by` must be a function that returns numbers, got"):
            grid.best(lambda result, number=number: number)  # type: ignore[misc]
    with pytest.raises(ParameterError, match="`scorer` must go with prompt_score or identity, got ssim"):
        grid.heatmap("ssim", scorer="clip")
    drawn = Grid(Sweep.of(Recipe(prompt="a robot", num_inference_steps=2), seed=[1, 2]))
    with pytest.raises(ParameterError, match=r"`structure` needs an initial picture to compare with. Measure `prompt_score`"):
        drawn.check("structure")
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(NbdiffuseError, match=r"`lpips` needs lpips, which is not installed. Run `pip install lpips`"):
        grid.heatmap("lpips")
    with pytest.raises(
        NbdiffuseError, match=r'`ssim` needs scikit-image, which is not installed. Run `pip install "nbdiffuse\[metr'
    ):
        grid.measure("prompt_score", "ssim")
    # Nothing was measured before the line, and no empty column stays behind.
    assert not set(METRICS) & set(grid.records()[0])


def test_any_clip_can_judge_by_directory_or_hub_id(grid: Grid, hub: Hub, tmp_path: Path) -> None:
    grid.run()
    own = [row["prompt_score"] for row in grid.measure("prompt_score").records()]
    hub.add("acme/clip", embedded.path("clip"))
    for scorer in (str(embedded.path("clip")), "acme/clip"):
        assert [row["prompt_score"] for row in grid.measure("prompt_score", scorer=scorer).records()] == own
    with pytest.raises(ParameterError, match="`scorer` must be a CLIP, got 'sd15'"):
        grid.best("prompt_score", scorer="sd15")
    with pytest.raises(CheckpointError, match=r"No checkpoint is called 'clipp'.*Did you mean 'clip'"):
        grid.heatmap("prompt_score", scorer="clipp")
    with pytest.raises(CheckpointError, match="The hub has no acme/other"):
        grid.measure("prompt_score", scorer="acme/other")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NbdiffuseError):
        grid.measure("prompt_score", scorer=str(tmp_path))


def test_failed_cells_are_left_out_and_shown_as_not_measured(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    grid.run()
    whole = grid.heatmap("ssim").png()
    key = grid.sweep.cells()[-1].picture_key
    grid._outcomes.outcomes[key] = FailedCell(grid.sweep.cells()[-1].recipe, RunError("The pipeline failed."))
    assert len(grid.heatmap("structure").values) == 3
    assert grid.measure("structure").records()[-1]["structure"] is None
    assert grid.best("structure").recipe == grid[int(np.argmax([row["structure"] or 0 for row in grid.records()]))].recipe
    assert grid.heatmap("ssim").png() != whole


def test_a_heat_map_stands_beside_the_pictures_and_marks_the_best(grid: Grid) -> None:
    heatmap = grid.run().heatmap("ssim")
    assert repr(heatmap) == "heat map of ssim: strength x guidance_scale"
    bundle = heatmap._repr_mimebundle_()
    assert bundle["text/plain"] == repr(heatmap) and len(bundle["image/png"]) < 1_000_000
    shown = Image.open(io.BytesIO(bundle["image/png"]))
    alone = Image.open(io.BytesIO(grid._repr_mimebundle_()["image/png"]))
    assert shown.mode == "RGBA" and shown.width <= 1110 and shown.width > 1.5 * shown.height
    assert alone.width < shown.width
    # Highest and lowest value have the two ends of the colour map.
    colors = {color[:3] for _, color in shown.getcolors(maxcolors=1 << 24)}
    assert {(0x44, 0x01, 0x54), (0xFD, 0xE7, 0x25)} <= colors


@pytest.mark.parametrize("count", [1, 2, 60])
def test_a_heat_map_is_readable_at_every_size(scene: Any, count: int) -> None:
    recipe = Recipe(prompt="a robot", image=scene.image, num_inference_steps=2, strength=0.5, scheduler="DDIM")
    grid = Grid(Sweep.of(recipe, seed=range(count)) if count > 1 else Sweep.of(recipe)).run()
    shown = Image.open(io.BytesIO(grid.heatmap("ssim").png()))
    assert shown.width <= 1110 and shown.height < 1400


def test_a_seam_is_what_stands_out_along_the_border_of_a_mask(scene: Any) -> None:
    mask = Image.new("L", scene.image.size)
    mask.paste(255, (40, 30, 90, 100))
    own = metrics.seam(scene.image, mask)
    assert own < 1.2
    # What is redrawn in another brightness shows, and the more of it the more; a soft edge hides it.
    pasted = [Image.composite(scene.image.point(lambda value, up=up: value + up), scene.image, mask) for up in (0, 10, 20, 40)]
    values = [metrics.seam(picture, mask) for picture in pasted]
    assert values == sorted(values) and values[0] == own and values[-1] > 2 * own
    soft = Image.composite(scene.image.point(lambda value: value + 40), scene.image, mask.filter(ImageFilter.GaussianBlur(6)))
    assert metrics.seam(soft, mask) < values[-1] / 4
    # Noise is as strong across the border as beside it, and a picture of one colour has no seam.
    noise = Image.effect_noise((128, 128), 60).convert("RGB")
    assert metrics.seam(noise, mask) == pytest.approx(1, abs=0.1)
    assert metrics.seam(Image.new("RGB", (128, 128), "red"), mask) == metrics.seam(noise, Image.new("L", (128, 128), 255)) == 1


def test_a_grid_measures_the_seam_of_its_masks(scene: Any) -> None:
    mask = Image.new("L", scene.image.size)
    mask.paste(255, (40, 30, 90, 100))
    recipe = Recipe(prompt="a robot in the desert", image=scene.image, mask_image=mask, num_inference_steps=3, seed=5)
    grid = Grid(Sweep.of(recipe, mask_blur=[0, 6])).run()
    hard, soft = (row["seam"] for row in grid.measure("seam").records())
    assert hard > soft
    with pytest.raises(ParameterError, match="`seam` needs a mask whose border it looks at"):
        Grid(Sweep.of(recipe.replace(mask_image=None), seed=[1, 2])).check("seam")

"""Frontiers and suggestions: what to choose where following the prompt costs what was to be kept."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbdiffuse import Recipe, Session, suggest
from nbdiffuse.errors import Interrupted, ParameterError
from nbdiffuse.families.step_rules import strengths_by_steps
from nbdiffuse.images.scatter import HEIGHT, WIDTH, Dot, scatter
from nbdiffuse.runs import suggest as module
from nbdiffuse.runs.grid import Grid
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a robot in the desert", image=scene.image, num_inference_steps=4, seed=5)


@pytest.fixture
def grid(recipe: Recipe, session: Session) -> Grid:
    return Grid(Sweep.of(recipe, strength=[0.3, 0.5, 0.8, 1.0], guidance_scale=[1, 7.5]), session)


def test_the_frontier_is_what_no_other_result_beats_in_both(grid: Grid) -> None:
    with pytest.raises(ParameterError, match="No cell of the grid is finished"):
        grid.frontier()
    found = grid.run().frontier()
    rows = found.records()
    assert len(rows) == 8 and {"strength", "guidance_scale", "kept", "prompt_score", "frontier"} == rows[0].keys()
    for row in rows:
        beaten = any(
            (one["kept"], one["prompt_score"]) != (row["kept"], row["prompt_score"])
            and one["kept"] >= row["kept"]
            and one["prompt_score"] >= row["prompt_score"]
            for one in rows
        )
        assert row["frontier"] != beaten
    ends = found.results
    assert ends[-1].recipe.strength == grid.best("kept").recipe.strength
    assert grid.best("prompt_score").image.tobytes() in [result.image.tobytes() for result in ends]
    kept = [row["kept"] for row in sorted(rows, key=lambda row: row["kept"]) if row["frontier"]]
    assert len(found.cells) == len(kept) and repr(found) == "frontier of kept and prompt_score: strength x guidance_scale"


def test_less_is_better_where_the_metric_says_so(grid: Grid) -> None:
    found = grid.run().frontier("drift", "kept")
    least = min(found.records(), key=lambda row: row["drift"])
    assert least["frontier"] and found.results[-1].recipe.strength == least["strength"]
    with pytest.raises(ParameterError, match="`up` must be another metric than `across`, got 'kept' for both"):
        grid.frontier("kept", "kept")
    with pytest.raises(ParameterError, match="`metric` must be one of"):
        grid.frontier("keptt")


def test_it_shows_a_plot_pictures_and_numbers_in_words_too(grid: Grid) -> None:
    found = grid.run().frontier()
    html = found._repr_mimebundle_()["text/html"]
    told = re.findall('alt="([^"]*)"', html)
    assert told[0].startswith("plot of 8 results, ") and len(told) == 1 + min(4, len(found.cells)) and "color:" not in html
    for row in found.records():
        assert (f"kept {row['kept']:.2f}" in html) or not row["frontier"]


@pytest.mark.quick
def test_a_plot_of_any_numbers_stays_within_its_frame() -> None:
    for dots in ([Dot(0, 0, "one", True)], [Dot(place, -place, "a label " * 9, True) for place in range(30)]):
        plot = np.asarray(scatter(dots, "kept", "prompt_score"))
        assert plot.shape == (HEIGHT, WIDTH, 4) and plot[..., 3].any()


def test_a_suggestion_is_the_farthest_value_that_keeps_enough(recipe: Recipe, tmp_path: Path) -> None:
    store, steps = Store(tmp_path), recipe.replace(num_inference_steps=16)
    found = suggest(steps, 0.8, store=store)
    values = strengths_by_steps(16)
    assert found.field == "strength" and found.kept >= 0.8 and found.runs == len(found.tried) <= math.ceil(math.log2(17))
    assert found.recipe.strength == max(value for value, kept in found.tried.items() if kept >= 0.8)
    after = values[values.index(found.recipe.strength) + 1]
    assert found.tried[after] < 0.8, "one step further keeps less"
    assert found.result.compare().kept == found.kept and f"found with {found.runs} runs" in found.line
    again = suggest(steps, 0.8, store=store)
    assert again.runs == 0 and again.tried == found.tried and again.result.image.tobytes() == found.result.image.tobytes()
    assert again.line.endswith(f"found with 0 runs of {len(again.tried)} values.")
    nearer = suggest(steps, 0.95, store=store)
    assert nearer.recipe.strength <= found.recipe.strength and nearer.runs < len(nearer.tried)


def test_where_no_value_keeps_enough_the_one_that_keeps_most_is_named(recipe: Recipe, tmp_path: Path) -> None:
    found = suggest(recipe, 1, store=Store(tmp_path))
    assert found.recipe.strength == 0.3 and found.line.startswith("No strength keeps 100%: strength 0.3 keeps ")
    everything = suggest(recipe, 0, store=Store(tmp_path))
    assert everything.recipe.strength == 1.0 and everything.runs < len(everything.tried)
    shown = everything._repr_mimebundle_()
    assert "image/png" in shown and shown["text/plain"].splitlines() == ["suggestion: strength", everything.line]


def test_an_edit_is_held_by_its_image_guidance(recipe: Recipe, tmp_path: Path) -> None:
    edit = Recipe(model="edit", image=recipe.image, prompt="make it night", num_inference_steps=2, seed=1)
    found = suggest(edit, 0.5, store=Store(tmp_path))
    assert found.field == "image_guidance_scale" and all(1 <= value <= 4 for value in found.tried)
    assert next(iter(found.tried)) == 2.5 and len(found.tried) <= 5
    assert suggest(edit, 0.5, by="guidance_scale", store=Store(tmp_path)).field == "guidance_scale"


def test_an_interrupt_loses_nothing_not_even_the_seed(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, unseeded, real, made = Store(tmp_path), recipe.replace(seed=None, num_inference_steps=16), module._kept, []

    def kept(result: Any) -> float:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(result)
        return real(result)

    monkeypatch.setattr(module, "_kept", kept)
    with pytest.raises(Interrupted, match=r"Stopped after 2 values\. Call it again: what is finished is kept"):
        suggest(unseeded, store=store)
    monkeypatch.setattr(module, "_kept", real)
    found = suggest(unseeded, store=store)
    assert found.recipe.seed == made[0].recipe.seed and found.runs <= len(found.tried) - 3
    assert suggest(unseeded, store=store).recipe.seed != found.recipe.seed, "what is finished draws anew"


def test_what_cannot_be_searched_is_one_line(recipe: Recipe) -> None:
    for keep in (1.1, -1, "much", True, None):
        with pytest.raises(ParameterError, match=r"`keep` must be a number in \[0, 1\], such as 0.8, got"):
            suggest(recipe, keep)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="`image` must be given: without an initial picture there is nothing to keep"):
        suggest(Recipe(prompt="a cat"))
    for field in ("prompt", "nothing", "num_inference_steps"):
        with pytest.raises(ParameterError, match="`by` must be strength or a guidance, such as image_guidance_scale, got"):
            suggest(recipe, by=field)
    with pytest.raises(ParameterError, match="`image_guidance_scale` is not taken by sd15"):
        suggest(recipe, by="image_guidance_scale")

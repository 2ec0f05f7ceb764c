"""Runs that were stopped: the same run goes on with what the models answered, whatever the scheduler, and loses little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nbdiffuse import Recipe, get_session
from nbdiffuse.engine import unfinished
from nbdiffuse.engine.unfinished import Answers
from nbdiffuse.errors import Interrupted
from nbdiffuse.runs.grid import Grid
from nbdiffuse.sweeps.sweep import Sweep

STEPS = 12


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """Rows of each call of a denoiser."""
    from diffusers import UNet2DConditionModel

    monkeypatch.setattr(unfinished, "folder", lambda: tmp_path / "unfinished")
    made, forward = [], UNet2DConditionModel.forward

    def counting(self: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        made.append(len(sample))
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(UNet2DConditionModel, "forward", counting)
    yield made


def stopping(when: Callable[[], bool]) -> Callable[[], None]:
    stopped: list[bool] = []

    def look() -> None:
        if not stopped and when():
            stopped.append(True)
            raise KeyboardInterrupt

    return look


def recipe(scene: Any, **changes: Any) -> Recipe:
    base = Recipe(
        prompt="a house in the snow", image=scene.image, num_inference_steps=STEPS, strength=1.0, seed=5, scheduler="DDIM"
    )
    return base.replace(width=64, height=64, **changes)


def test_a_grid_that_is_stopped_at_half_time_loses_at_most_15_percent(scene: Any, rows: list[int]) -> None:
    value = Sweep.of(recipe(scene), seed=range(24))
    grid, all_of_it = Grid(value, session=get_session()), 24 * STEPS * 2
    with pytest.raises(Interrupted, match=r"Stopped with \d+ of 24 distinct images finished"):
        grid.run(stopping(lambda: sum(rows) >= all_of_it / 2))
    before = sum(rows)
    assert all_of_it / 2 <= before < all_of_it and grid.missing > 6
    # Another grid, as after a restart of the kernel.
    again = Grid(value, session=get_session())
    rest = again.run()
    lost = sum(rows) - all_of_it - 2 * STEPS * (24 - grid.missing)  # what was finished has no store here, and is made again
    assert rest.missing == 0 and lost <= 0.15 * all_of_it, lost
    assert not list(unfinished.folder().iterdir())


@pytest.mark.parametrize("scheduler", ["DDIM", "DPMSolverMultistep", "EulerAncestralDiscrete", "PNDM", "HeunDiscrete"])
def test_a_run_that_goes_on_has_the_pixels_of_one_that_was_not_stopped(scene: Any, rows: list[int], scheduler: str) -> None:
    value = Sweep.of(recipe(scene, scheduler=scheduler), seed=[1])
    whole = Grid(value, session=get_session()).run()[0].image
    made = len(rows)
    rows.clear()
    with pytest.raises(Interrupted):
        Grid(value, session=get_session()).run(stopping(lambda: len(rows) >= made // 2))
    assert len(rows) < made and len(list(unfinished.folder().iterdir())) == 1
    gone_on = Grid(value, session=get_session()).run()[0]
    assert np.array_equal(np.asarray(gone_on.image), np.asarray(whole)) and len(rows) == made
    assert not list(unfinished.folder().iterdir())


def test_a_control_net_is_not_asked_again_for_steps_that_are_known(
    scene: Any, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import ControlNetModel

    asked, forward = [], ControlNetModel.forward
    monkeypatch.setattr(ControlNetModel, "forward", lambda self, *a, **k: asked.append(1) or forward(self, *a, **k))
    value = Sweep.of(recipe(scene, controlnet="depth", control_image=scene.depth), seed=[1])
    whole = Grid(value, session=get_session()).run()[0].image
    made = len(asked)
    asked.clear()
    rows.clear()
    with pytest.raises(Interrupted):
        Grid(value, session=get_session()).run(stopping(lambda: len(rows) >= 5))
    gone_on = Grid(value, session=get_session()).run()[0]
    assert np.array_equal(np.asarray(gone_on.image), np.asarray(whole)) and made <= len(asked) <= made + 1


def test_another_recipe_goes_on_nowhere_and_what_is_broken_is_made_whole(scene: Any, rows: list[int]) -> None:
    value = Sweep.of(recipe(scene), seed=[1])
    with pytest.raises(Interrupted):
        Grid(value, session=get_session()).run(stopping(lambda: len(rows) >= 4))
    rows.clear()
    Grid(Sweep.of(recipe(scene), seed=[2]), session=get_session()).run()
    made = len(rows)
    (kept,) = unfinished.folder().iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    rows.clear()
    assert Grid(value, session=get_session()).run().missing == 0 and len(rows) == made


def test_what_is_too_much_is_not_kept(scene: Any, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "LIMIT", 1000)
    with pytest.raises(Interrupted):
        Grid(Sweep.of(recipe(scene), seed=[1]), session=get_session()).run(stopping(lambda: len(rows) >= 4))
    assert not unfinished.folder().exists()


@pytest.mark.quick
def test_a_run_that_begins_once_more_forgets_what_was_answered_before() -> None:
    answers = Answers(known=[[torch.zeros(1)]], given=[[torch.zeros(1)]])
    answers.begin()
    assert answers.known and answers.given
    answers.begin()
    assert not answers.known and answers.given == []

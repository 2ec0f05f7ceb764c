"""A run as it is seen in a cell: how often it is drawn, and how."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from waiting import HUNG

import nbdiffuse
from nbdiffuse.images import contact_sheets
from nbdiffuse.magics import live_display
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.sessions.session import get_session
from nbdiffuse.sessions.waiting import wait


class Clock:
    """Time that only goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.001, 0.02, 0.1, 0.7])
def test_pictures_of_a_run_take_a_fiftieth_of_its_time_and_come_twice_a_second_at_most(
    cost: float, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(live_display, "time", clock)
    display = live_display.LiveDisplay(animated=True)
    display.show({})
    times: list[float] = []

    def draw() -> dict[str, Any]:
        clock.now += cost
        times.append(clock.now)
        return {}

    while clock.now < 200.0:
        clock.now += 0.05
        display.refresh(draw)
    assert len(times) * cost <= 0.02 * 100.0 + cost
    assert all(later - earlier >= live_display.REFRESH for earlier, later in itertools.pairwise(times))
    assert len(times) >= min(150, 0.9 * 2.0 / cost), "the run is seen as often as its share allows"


def test_only_the_last_picture_of_a_run_is_encoded_to_be_small(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[bool] = []
    real = contact_sheets.png_bytes

    def counted(image: Any, passing: bool = False) -> bytes:
        encoded.append(passing)
        return real(image, passing)

    for place in ("nbdiffuse.magics.live_display.png_bytes", "nbdiffuse.results.png_bytes"):
        monkeypatch.setattr(place, counted)
    monkeypatch.setattr(live_display, "REFRESH", 0.0)
    monkeypatch.setattr(live_display, "SHARE", 1.0)
    recipe = resolve(nbdiffuse.Recipe(prompt="a cat", image="example:cat", num_inference_steps=8, seed=3))
    live, drawn = live_display.LiveRun(recipe, animated=True), threading.Event()

    def step(progress: Any) -> None:
        live.on_progress(progress)
        # A busy machine may end the run before the cell's thread has its turn.
        drawn.wait(HUNG)
        drawn.clear()

    def refresh() -> None:
        live.refresh()
        drawn.set()

    live.finish(wait(get_session().submit(recipe, step), refresh))
    assert encoded.count(False) == 1 and not encoded[-1] and encoded.count(True) >= 2
    assert len(shown) == len(encoded)

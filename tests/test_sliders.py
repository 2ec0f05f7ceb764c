"""Sliders of a panel: only a person moves them, and what a person moves is not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nbdiffuse import Recipe, Session
from nbdiffuse.panels.inputs.number_controls import nearest_place
from nbdiffuse.panels.recipe_panel import Panel

OFF_ITS_PLACES = {"guidance_scale": 7.3}


@pytest.fixture
def panel(scene: Any, session: Session) -> Iterator[Panel]:
    made = Panel(Recipe(prompt="a cat", image=scene.image, num_inference_steps=50, seed=7), session)
    yield made
    made.stop()


def control(panel: Panel, name: str) -> Any:
    return panel._controls._control(name)


@pytest.mark.quick
@pytest.mark.parametrize(("low", "high", "step"), [(0, 1, 0.05), (1, 20, 0.5), (0.01, 1, 0.01), (0, 0.02, 0.001), (1, 10, 0.1)])
def test_a_slider_stands_on_its_places_and_a_place_is_where_it_is(low: float, high: float, step: float) -> None:
    count = round((high - low) / step)
    places = [nearest_place(low + number * step, low, high, step) for number in range(count + 1)]
    assert places == [pytest.approx(low + number * step) for number in range(count + 1)]
    for place in places:
        for near in (place, place - step * 0.49, place + step * 0.49):
            assert nearest_place(near, low, high, step) == place
    assert nearest_place(low - 1, low, high, step) == places[0] and nearest_place(high + 1, low, high, step) == high


@pytest.mark.quick
def test_a_value_between_two_places_of_a_slider_is_shown_and_stays(panel: Panel) -> None:
    asked = panel.recipe.replace(**OFF_ITS_PLACES)
    panel.show(asked)
    share = control(panel, "noise")._box.value
    assert control(panel, "guidance_scale")._box.value == 7.3 and 0.9 < share < 1 and round(share, 2) != share
    for name in (*OFF_ITS_PLACES, "noise"):
        slider = getattr(control(panel, name), "_slider", None)
        if slider is not None:
            at = nearest_place(slider.value, slider.min, slider.max, slider.step)
            assert slider.value == at, "a browser would send its own place back"
            # One of another make may add its steps up in another way.
            slider.value = at - 1e-12
            slider.value = at + 1e-12
    panel._thread.settle()
    assert panel.recipe == asked and control(panel, "noise")._box.value == share


def test_a_move_that_comes_while_another_is_taken_up_is_not_lost(panel: Panel) -> None:
    free = threading.Event()
    panel._thread.post(lambda: free.wait() and None)
    control(panel, "strength")._slider.value = 44
    control(panel, "noise")._slider.value = 0.5
    free.set()
    panel._thread.settle()
    assert panel.recipe.noise == control(panel, "noise")._box.value == 0.5 and panel.recipe.strength is None


def test_a_slider_that_is_moved_and_moved_back_meanwhile_shows_what_the_panel_says(panel: Panel) -> None:
    free, guidance = threading.Event(), control(panel, "guidance_scale")
    panel._thread.post(lambda: free.wait() and None)
    panel._thread.post(lambda: panel._controls.show(panel._controls.asked.replace(guidance_scale=3.0)))
    before = guidance._slider.value
    guidance._slider.value = 12.0
    guidance._slider.value = before
    free.set()
    panel._thread.settle()
    assert panel.recipe.guidance_scale == guidance._box.value == guidance._slider.value == 3.0

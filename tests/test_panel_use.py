"""What a person meets first in a panel: nothing to draw, a mistake in a field, past results, and the cells of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_for

from nbdiffuse import Recipe, Session
from nbdiffuse.panels.inputs.field_errors import INVALID
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.runs.sweep_api import sweep


@pytest.fixture
def panel(scene: Any, session: Session) -> Iterator[Panel]:
    made = Panel(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2), session)
    yield made
    made.stop()
    wait_for(lambda: not made.busy)


def control(panel: Panel, name: str) -> Any:
    return panel._controls._control(name)


def set_text(panel: Panel, name: str, text: str) -> None:
    control(panel, name).widget.value = text
    panel._thread.settle()


def line_below(panel: Panel, name: str) -> str:
    """Return what is said below a control, where it is marked as wrong."""
    widget = control(panel, name).widget
    box = next(one for one in (panel._controls._first, panel._controls._further) if widget in one.children)
    if INVALID not in widget._dom_classes:
        return ""
    return str(box.children[box.children.index(widget) + 1].value)


def run(panel: Panel) -> Any:
    before = len(panel.results)
    panel._run_button.click()
    wait_for(lambda: not panel.busy and len(panel.results) > before)
    return panel.result


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_prompt_does_not_run_and_is_said_at_its_box(text: str, panel: Panel) -> None:
    set_text(panel, "prompt", text)
    assert line_below(panel, "prompt") == ""
    panel._run_button.click()
    panel._thread.settle()
    assert not panel.busy and not panel.results
    assert "`prompt` is empty" in line_below(panel, "prompt") and "`prompt` is empty" in panel._output._status.value
    set_text(panel, "prompt", "a dog")
    assert line_below(panel, "prompt") == "" and "step" in panel._output._status.value


def test_an_enlargement_needs_no_prompt(scene: Any, session: Session) -> None:
    Panel(Recipe(image=scene.image, model="x2-upscaler"), session)._controls.check_prompt()


def test_a_mistake_is_said_below_its_field_until_it_is_mended(panel: Panel) -> None:
    set_text(panel, "width", "130")
    assert "`width` must be" in line_below(panel, "width") and line_below(panel, "height") == ""
    set_text(panel, "width", "128")
    assert line_below(panel, "width") == ""


def test_a_drawn_seed_looks_drawn_and_can_be_kept(panel: Panel) -> None:
    seed = control(panel, "seed")
    first = run(panel).recipe.seed
    assert seed._text.value == "" and seed._text.placeholder == f"{first}, drawn" and panel.recipe.seed is None
    seed._lock.value = True
    panel._thread.settle()
    assert panel.recipe.seed == first and seed._text.value == str(first)


def test_what_a_browser_makes_of_a_sliders_place_is_no_change(panel: Panel) -> None:
    noise = control(panel, "noise")
    noise._slider.value = noise._slider.value + 1e-15
    panel._thread.settle()
    assert panel.recipe.noise is None


def test_past_results_are_starred_deleted_and_compared(panel: Panel) -> None:
    first, second = run(panel), run(panel)
    history = panel._history
    history._star.click()
    panel._thread.settle()
    assert history.starred(second) and not history.starred(first) and history._star.description == "Unstar"
    panel._thread.call(lambda: history._on_choice(first))
    history._compare.value = True
    panel._thread.call(lambda: history._on_choice(second))
    panel._thread.settle()
    assert panel._output._before_label == f"compared with seed {first.recipe.seed}" and panel.result is second
    history._compare.value = False
    panel._thread.settle()
    assert panel._output._before_label == "initial image"
    history._delete.click()
    panel._thread.settle()
    assert panel.results == [first]


def test_a_cell_of_a_grid_opens_with_its_settings(panel: Panel) -> None:
    grid = sweep(panel.recipe.replace(seed=1), num_inference_steps=[2, 3]).run()
    panel._thread.call(lambda: panel._sweep.show(grid))
    pictures = panel._sweep._cells.children
    assert len(pictures) == 2 and "3" in pictures[1].children[1].tooltip
    pictures[1].children[1].click()
    panel._thread.settle()
    assert panel.recipe.num_inference_steps == 3 and panel.result is grid[1] and panel.results == [grid[1]]


def test_every_control_has_a_name_of_its_own(scene: Any, session: Session) -> None:
    panel = Panel(Recipe(prompt="a cat", image=scene.image, mask_image=scene.image.convert("L")), session)

    def walk(widget: Any) -> Iterator[Any]:
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    buttons = [one.tooltip for one in walk(panel.widget) if type(one).__name__ in ("Button", "ToggleButton")]
    boxes = [one.description for one in walk(panel.widget) if type(one).__name__ in ("Text", "Textarea", "Combobox", "Dropdown")]
    for names in (buttons, boxes):
        assert all(names) and len(set(names)) == len(names), sorted(names)

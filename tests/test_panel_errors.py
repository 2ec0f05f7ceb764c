"""Errors in panels: each stays in sight until it is corrected or the next run, and what is kept does not grow."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import HUNG, wait_for

from nbdiffuse import Recipe, Session
from nbdiffuse.devices.worker import Worker
from nbdiffuse.errors import CheckpointError, NbdiffuseError, ParameterError, again
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.recipe_panel import Panel


@pytest.fixture
def panel(scene: Any, session: Session) -> Iterator[Panel]:
    made = Panel(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=7), session)
    yield made
    made.stop()
    wait_for(lambda: not made.busy)


def change(panel: Any, name: str, value: Any, controls: Any = None) -> str:
    """Set a control as a person does, and return the status line."""
    widget = (controls or panel._controls)._control(name)
    (getattr(widget, "_box", None) or widget.widget).value = value
    panel._thread.settle()
    return status(panel)


def status(panel: Any) -> str:
    return str(panel._output._status.value)


def type_seed(panel: Panel, text: str) -> str:
    control = panel._controls._control("seed")
    field = next(child for child in walk(control.widget) if type(child).__name__ == "Text")
    field.value = text
    panel._thread.settle()
    return status(panel)


def walk(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def depth(look: Callable[[], Any]) -> int:
    with pytest.raises(NbdiffuseError) as caught:
        look()
    return len(traceback.extract_tb(caught.value.__traceback__))


def test_a_controls_error_stays_until_its_own_field_is_corrected(panel: Panel) -> None:
    assert "`seed` must be" in type_seed(panel, "-1")
    assert "`seed` must be" in change(panel, "guidance_scale", 3.5)
    assert "`seed` must be" in change(panel, "prompt", "a dog")
    assert "→ 1 step" in type_seed(panel, "8")


def test_looking_at_an_error_does_not_let_it_grow(panel: Panel) -> None:
    type_seed(panel, "-1")
    assert len({depth(lambda: panel.recipe) for _ in range(5)}) == 1
    (kept,) = panel._controls._problems.values()
    assert kept.__traceback__ is None and kept.__context__ is None
    assert panel._controls.outlook is kept


def test_a_runs_error_stays_until_its_field_is_changed_or_the_next_run(panel: Panel) -> None:
    panel.show(panel.recipe.replace(checkpoint="no-such-checkpoint"))
    panel._run_button.click()
    wait_for(lambda: isinstance(panel.last_error, CheckpointError) and not panel.busy)
    assert "no-such-checkpoint" in status(panel)
    assert "no-such-checkpoint" in change(panel, "guidance_scale", 3.5)
    assert "no-such-checkpoint" in change(panel, "prompt", "a dog")
    assert "no-such-checkpoint" not in change(panel, "checkpoint", "")
    assert panel.recipe.checkpoint is None
    panel._run_button.click()
    wait_for(lambda: panel.result is not None and not panel.busy)
    assert panel.last_error is None and "seed 7" in status(panel)
    assert "no-such-checkpoint" not in change(panel, "guidance_scale", 4.5)


def test_a_run_that_cannot_begin_says_why_until_that_is_mended(panel: Panel) -> None:
    assert "at least one step" in change(panel, "strength", 0.05)
    panel._run_button.click()
    panel._thread.settle()
    assert "at least one step" in status(panel) and isinstance(panel.last_error, ParameterError)
    assert "at least one step" in change(panel, "guidance_scale", 3.5)
    assert "at least one step" not in change(panel, "strength", 0.9)


def test_another_recipe_brings_no_old_error(panel: Panel) -> None:
    type_seed(panel, "-1")
    panel._run_button.click()
    panel._thread.settle()
    assert "`seed`" in status(panel)
    panel.show(Recipe(prompt="a fox", seed=3))
    assert "`seed`" not in status(panel) and "`seed`" not in change(panel, "guidance_scale", 3.5)


def test_a_step_of_a_chain_keeps_its_error(session: Session) -> None:
    first = Recipe(prompt="a cat", num_inference_steps=2, seed=7)
    panel = ChainPanel(first >> Recipe(prompt="a dog", num_inference_steps=2, strength=0.5), session)
    second = panel._steps.sets[1]
    panel._thread.call(lambda: second._take("seed", -1))
    assert "`seed` must be" in status(panel)
    assert "`seed` must be" in change(panel, "guidance_scale", 3.5, second)
    assert "`seed` must be" in change(panel, "guidance_scale", 3.5, panel._steps.sets[0])


def test_a_job_can_be_asked_for_its_error_as_often_as_wanted() -> None:
    def fail(stop: Any) -> None:
        raise ParameterError("`x` must be y.")

    job = Worker("test").submit(fail)
    assert len({depth(lambda: job.result(HUNG)) for _ in range(5)}) == 1


def test_an_error_again_is_the_same_without_its_frames() -> None:
    try:
        try:
            raise ValueError("inside")
        except ValueError:
            raise CheckpointError("`x` is damaged.") from None
    except CheckpointError as error:
        error.details = "where"
        fresh = again(error)
    assert type(fresh) is CheckpointError and str(fresh) == "`x` is damaged." and fresh.details == "where"
    assert fresh.__traceback__ is None and fresh.__context__ is None

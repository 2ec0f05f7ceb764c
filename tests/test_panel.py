"""Panels: the controls are the recipe, runs are the session's, and one run is under way at most."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from waiting import wait_for

import nbdiffuse
from nbdiffuse import Recipe, Session
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.devices.worker import Job
from nbdiffuse.engine.progress import Progress
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata.image_files import write
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.dropped_file import dropped_file
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.panels.runtime.callback_thread import get_callback_thread
from nbdiffuse.panels.runtime.panel_run import Runner
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.recipes.taken_fields import settable

PROMPT = "cat wizard, gandalf, fantasy"


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=4, seed=7)


@pytest.fixture
def panel(recipe: Recipe, session: Session) -> Iterator[Panel]:
    made = Panel(recipe, session)
    yield made
    made.stop()
    wait_for(lambda: not made.busy)


def control(panel: Panel, name: str) -> Any:
    return panel._controls._control(name)


def settle(panel: Panel) -> None:
    panel._thread.settle()


def run(panel: Panel) -> Any:
    before = len(panel.results)
    panel._run_button.click()
    wait_for(lambda: not panel.busy and len(panel.results) > before)
    return panel.result


def status(panel: Panel) -> str:
    return str(panel._output._status.value)


@pytest.mark.quick
def test_the_controls_are_the_recipe(panel: Panel, recipe: Recipe) -> None:
    assert panel.recipe == recipe
    control(panel, "guidance_scale")._box.value = 3.5
    control(panel, "prompt").widget.value = "a robot in the snow"
    settle(panel)
    assert panel.recipe == recipe.replace(guidance_scale=3.5, prompt="a robot in the snow")


@pytest.mark.quick
def test_a_run_is_the_sessions_own(panel: Panel, recipe: Recipe, session: Session) -> None:
    assert run(panel).image.tobytes() == session.run(recipe).image.tobytes()
    assert panel.result.recipe == resolve(recipe)


def test_a_result_is_in_sight_before_the_next_run_is_offered(panel: Panel) -> None:
    said: list[str] = []
    panel._run_button.observe(lambda change: said.append(status(panel)), "disabled")
    run(panel)
    wait_for(lambda: len(said) == 2)
    assert "seed 7" in said[1]


@pytest.mark.parametrize("model", PRESETS)
def test_only_what_the_preset_takes_is_shown(model: str, panel: Panel, scene: Any) -> None:
    panel.show(Recipe(prompt=PROMPT, image=scene.image, model=model))
    children = (*panel._controls._first.children, *panel._controls._further.children)
    # What is wrong with a field stands below it.
    shown = {one for one in children if "nbd-field-error" not in str(getattr(one, "value", ""))}
    wanted = settable(panel.recipe)
    assert shown == {control(panel, name).widget for name in wanted}


@pytest.mark.quick
def test_what_is_set_of_a_scheduler_has_controls_that_show_what_is_in_force(panel: Panel, recipe: Recipe) -> None:
    assert control(panel, "timestep_spacing").widget.value == "leading", "the checkpoint's own word"
    control(panel, "scheduler").widget.value = "DPMSolverMultistep"
    settle(panel)
    assert control(panel, "algorithm_type").widget.options == ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")
    assert control(panel, "algorithm_type").widget.value == "dpmsolver++"
    control(panel, "use_karras_sigmas").widget.value = True
    control(panel, "algorithm_type").widget.value = "sde-dpmsolver++"
    settle(panel)
    changed = {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}
    assert panel.recipe == recipe.replace(**changed)
    control(panel, "scheduler").widget.value = "DDIM"
    settle(panel)
    assert panel.recipe == recipe.replace(scheduler="DDIM"), "what DDIM does not follow is laid by"


def test_the_strength_slider_rests_only_where_the_image_changes(panel: Panel) -> None:
    strength = control(panel, "strength")
    assert (strength._slider.min, strength._slider.max) == (1, 4) and "runs 3 of 4 steps" in strength._hint.value
    for steps in (1, 2, 3, 4):
        strength._slider.value = steps
        settle(panel)
        assert real_steps(resolve(panel.recipe)) == steps and strength._box.value == panel.recipe.strength


def test_another_number_of_steps_leaves_the_strength_alone(panel: Panel) -> None:
    for steps in (900, 10, 50):
        control(panel, "num_inference_steps")._box.value = steps
        settle(panel)
        assert control(panel, "strength")._box.value == 0.8 and panel.recipe.strength is None
        assert control(panel, "strength")._slider.value == 0.8 * steps


def test_a_mistake_is_one_line_in_the_panel_and_run_comes_back(panel: Panel) -> None:
    control(panel, "prompt").widget.value = ""
    control(panel, "width").widget.value = "130"
    settle(panel)
    panel._run_button.click()
    settle(panel)
    assert isinstance(panel.last_error, ParameterError) and "\n" not in str(panel.last_error)
    assert "nbd-alert" in status(panel) and not panel._run_button.disabled and panel._stop_button.disabled


def test_callbacks_only_post(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    original = panel._session.submit
    monkeypatch.setattr(
        panel._session, "submit", lambda *given: (threads.append(threading.current_thread().name), original(*given))[1]
    )
    run(panel)
    assert threads == ["nbdiffuse-panels"]


def test_stop_ends_the_run_and_keeps_what_was_there(panel: Panel) -> None:
    first = run(panel)
    control(panel, "num_inference_steps")._box.value = 400
    settle(panel)
    panel._run_button.click()
    wait_for(lambda: panel.busy)
    said: list[str] = []
    panel._run_button.observe(lambda change: said.append(status(panel)), "disabled")
    panel._stop_button.click()
    wait_for(lambda: not panel.busy)
    assert panel.result is first and "Stopped" in said[0] and not panel._run_button.disabled


def test_live_mode_runs_the_newest_settings_only_and_never_two_at_once(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Recipe] = []
    under_way: list[int] = []
    original = panel._session.submit

    def submit(complete: Recipe, note: Any) -> Any:
        under_way.append(sum(not job.future.done() for job in jobs))
        begun.append(complete)
        jobs.append(original(complete, note))
        return jobs[-1]

    jobs: list[Any] = []
    monkeypatch.setattr(panel._session, "submit", submit)
    control(panel, "num_inference_steps")._box.value = 40
    panel._live.value = True
    wait_for(lambda: panel.busy)
    for value in (1, 2, 3, 4, 5, 6.5):
        control(panel, "guidance_scale")._slider.value = value
    wait_for(lambda: not panel.busy and panel.result is not None and panel.result.recipe.guidance_scale == 6.5)
    assert [complete.guidance_scale for complete in begun] == [7.5, 6.5], "what was passed over is not run"
    assert set(under_way) == {0}
    panel._live.value = False


def test_a_past_result_brings_its_settings_back(panel: Panel, recipe: Recipe) -> None:
    first = run(panel)
    control(panel, "guidance_scale")._box.value = 2.0
    settle(panel)
    second = run(panel)
    assert panel.results == [second, first]
    panel._thread.call(lambda: panel._bring_back(first))
    assert panel.result is first and resolve(panel.recipe) == resolve(recipe)


def test_use_as_initial_image_takes_the_shown_result(panel: Panel) -> None:
    made = run(panel)
    panel._start_button.click()
    settle(panel)
    assert panel.recipe.image is not None and panel.recipe.image.image.tobytes() == made.image.tobytes()


def test_to_cell_is_the_recipe(panel: Panel, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line, body = panel.cell.split("\n", 1)
    asked = parse_cell("img2img", line.removeprefix("%%img2img"), body)
    assert Recipe.from_dict({**asked.values, "image": nbdiffuse.Picture.of(asked.values["image"])}) == recipe


def test_to_script_opens_the_picture_that_it_left_beside_the_notebook(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inserted: list[str] = []
    monkeypatch.setattr(panel._actions, "_insert", inserted.append)
    panel._thread.call(panel._actions._to_script)
    assert "AutoPipelineForImage2Image" in inserted[0] and "nbdiffuse." not in inserted[0].replace("nbdiffuse, ", "")
    assert all(file.name in inserted[0] for file in tmp_path.iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_a_file_with_a_recipe_restores_the_settings(panel: Panel, recipe: Recipe, tmp_path: Path) -> None:
    made = run(panel)
    content = made.save(tmp_path / "made.png").read_bytes()
    control(panel, "prompt").widget.value = "something else"
    settle(panel)
    assert panel._thread.call(lambda: panel._restore("made.png", content))
    assert resolve(panel.recipe) == made.recipe


@pytest.mark.parametrize(
    ("lost", "kept", "gone"),
    [
        (("control_image",), {"controlnet": "depth", "strength": 0.5}, {"control_image"}),
        (("image",), {"controlnet": "depth"}, {"image", "strength"}),
        (("image", "control_image"), {"prompt": "a cat"}, {"image", "strength", "controlnet", "control_image"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_pictures_that_are_not_in_memory_are_named_and_all_else_arrives(
    lost: tuple[str, ...], kept: dict[str, Any], gone: set[str], scene: Any, tmp_path: Path
) -> None:
    pictures = {"image": Picture.of(scene.image), "control_image": Picture.of(scene.depth)}
    made = resolve(Recipe(prompt="a cat", model="sd15", strength=0.5, controlnet="depth", seed=1, **pictures))
    recipe = made.replace(**{name: Picture(f"sha256:{'0' * 64}", name) for name in lost})
    write(scene.image, tmp_path / "made.png", Provenance(recipe, {}))
    dropped = dropped_file("made.png", (tmp_path / "made.png").read_bytes())
    assert dropped is not None
    for name in lost:
        assert f"Its {name} is not in memory: give it again." in dropped.lines
    restored = dropped.recipe.values()
    assert kept.items() <= restored.items()
    assert gone <= {name for name in recipe.values() if restored.get(name) is None}


def test_a_sweep_runs_below_and_is_the_sweeps_own(panel: Panel, recipe: Recipe) -> None:
    box = panel._sweep
    panel._sweep_button.value = True
    settle(panel)
    box._axes[0]._field.value = "guidance_scale"
    settle(panel)
    box._button.click()
    settle(panel)
    assert "on one axis, got two" in str(panel.last_error) and panel.grid is None
    box._axes[1]._field.value = "none"
    settle(panel)
    box._axes[0]._values.value = "1,5"
    settle(panel)
    box._button.click()
    wait_for(lambda: panel.grid is not None and not panel.busy)
    assert panel.grid is not None and panel.grid.missing == 0
    assert [result.recipe.guidance_scale for result in panel.grid] == [1, 5]
    assert box._sheet.value.startswith("<img") and "7.5" not in status(panel)


def test_the_saved_notebook_keeps_the_picture_and_no_secret(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("nbdiffuse.panels.output.static_output.display", lambda bundle, **given: shown.append(bundle))
    run(panel)
    panel._ipython_display_()
    assert shown[-1]["image/png"] and shown[-1]["text/plain"] == "nbdiffuse panel"
    state = json.dumps(ipywidgets.Widget.get_manager_state(), default=str)
    assert str(Path.home()) + "/" not in state and "hf_secret" not in state


def test_a_cell_moves_the_panel(panel: Panel, recipe: Recipe) -> None:
    panel.show(recipe.replace(guidance_scale=4.0, prompt="a penguin"))
    assert panel.recipe == recipe.replace(guidance_scale=4.0, prompt="a penguin")
    assert control(panel, "guidance_scale")._slider.value == 4.0


def test_what_the_preset_does_not_take_is_refused_and_nothing_moves(panel: Panel, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match="`noise_level` is not taken by sd15"):
        panel.show(recipe.replace(noise_level=20))
    assert panel.recipe == recipe


def test_a_preview_is_shown_whichever_step_is_painted(scene: Any) -> None:
    """Steps come faster than the page is painted, and only some of them have a preview."""
    thread, painted, job = get_callback_thread(), [], Job[Any](None)

    class Listener:
        def guarded(self, work: Callable[..., None]) -> Callable[..., None]:
            return work

        def started(self) -> None: ...

        def ended(self, made: Any, error: Any) -> None: ...

        def on_progress(self, progress: Any, waited: float) -> None:
            painted.append(progress)

    def begin(note: Callable[[Any], None]) -> Job[Any]:
        for step in range(1, 5):
            note(Progress(step, 4, 0.1 * step, scene.image if step == 2 else None))
        return job

    thread.call(lambda: Runner(thread, Listener()).run(begin))
    wait_for(lambda: any(progress is not None and progress.preview is scene.image for progress in painted))
    job.future.set_result(None)

"""The chain panel: a set of the panel's own controls for each step, and runs that are the session's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_for

import nbdiffuse
from nbdiffuse import Chain, ChainRun, Recipe, Session, panels
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.errors import ParameterError
from nbdiffuse.panels import ChainPanel


@pytest.fixture
def chain(scene: Any) -> Chain:
    first = Recipe(prompt="a cat", image=scene.image, num_inference_steps=4, strength=0.5, seed=7)
    return first >> Recipe(prompt="a cat, charliebo artstyle", model="comic", num_inference_steps=4, strength=0.5, seed=8)


@pytest.fixture
def panel(chain: Chain, session: Session) -> Iterator[ChainPanel]:
    made = ChainPanel(chain, session)
    yield made
    made.stop()
    wait_for(lambda: not made.busy)


def run(panel: ChainPanel) -> ChainRun:
    before = panel.result
    panel._run_button.click()
    wait_for(lambda: not panel.busy and panel.result is not before)
    made = panel.result
    assert made is not None
    return made


def status(panel: ChainPanel) -> str:
    return str(panel._output._status.value)


def test_the_controls_are_the_chain(panel: ChainPanel, chain: Chain) -> None:
    assert panel.chain == chain
    panel._steps[1].controls._control("prompt").widget.value = "a robot, charliebo artstyle"
    panel._thread.settle()
    assert panel.chain == chain.replace(2, prompt="a robot, charliebo artstyle")
    assert "2  comic: a robot" in panel._steps[1]._line.description


def test_a_later_step_asks_for_no_picture_and_no_size(panel: ChainPanel) -> None:
    first, second = (set(step.controls._told) for step in panel._steps)
    assert "image" in first and "image" not in second and "strength" in second


def test_a_run_is_the_chains_own(panel: ChainPanel, chain: Chain) -> None:
    made, expected = run(panel), nbdiffuse.run(chain)
    assert [each.image.tobytes() for each in made] == [each.image.tobytes() for each in expected]
    assert made.arrows == ["latents"]
    # The output view compares what the chain began with and what it came to; the strip below has every step.
    assert panel._output._before and panel._sheet.value.count("<figure>") == 3 and "chain: 2 of 2 steps" in panel._sheet.value


def test_a_changed_last_step_runs_alone(panel: ChainPanel) -> None:
    first = run(panel)
    panel._steps[1].controls.set("strength", 0.75)
    second = run(panel)
    assert second[0].image.tobytes() == first[0].image.tobytes() and second[0].seconds == first[0].seconds
    assert second.image.tobytes() != first.image.tobytes()


def test_steps_are_added_and_taken_out(panel: ChainPanel, chain: Chain) -> None:
    panel._steps._add.click()
    panel._thread.settle()
    assert len(panel.chain) == 3 and panel.chain[2].model == "comic" and panel.chain[2].prompt == chain[1].prompt
    panel._steps[0]._remove.click()
    panel._thread.settle()
    left = panel.chain
    assert [step.model for step in left] == ["comic", "comic"]
    assert left[0].image is not None and chain[0].image is not None and left[0].image.address == chain[0].image.address
    panel._steps[1]._remove.click()
    panel._thread.settle()
    assert len(panel.chain) == 1 and panel._steps[0]._remove.disabled, "a chain has a step"


def test_its_cell_and_its_program_make_the_same_chain(
    panel: ChainPanel, chain: Chain, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head, _, body = panel.cell.partition("\n")
    asked = parse_chain(head.removeprefix("%%chain "), body)
    assert [values["model"] for values in asked.steps] == ["sd15", "comic"] and asked.steps[1]["seed"] == 8
    text, _ = panel._thread.call(panel.as_program)
    assert 'output_type="latent"' in text and "import nbdiffuse" not in text


def test_a_wrong_step_is_named_before_anything_runs(panel: ChainPanel) -> None:
    panel._steps[1].controls._control("width").widget.value = "130"
    panel._run_button.click()
    wait_for(lambda: panel.last_error is not None)
    assert "Step 2: `width`" in str(panel.last_error) and not panel.busy and "\n" not in str(panel.last_error)
    with pytest.raises(ParameterError, match=r"Step 2: `noise_level` is not taken"):
        panel.show(panel._steps[0].recipe >> Recipe(prompt="a", noise_level=3))


def test_a_stop_keeps_the_finished_steps_and_the_next_run_goes_on(panel: ChainPanel, chain: Chain) -> None:
    panel.show(chain.replace(2, num_inference_steps=100, strength=1.0, seed=81).replace(1, seed=71))
    panel._run_button.click()
    wait_for(lambda: panel._running is not None and len(panel._running) == 1)
    panel._stop_button.click()
    wait_for(lambda: not panel.busy)
    assert "Stopped" in status(panel) and "1 of 2 steps" in panel._sheet.value and panel.result is None


def test_open_seeds_are_drawn_once_in_live_mode(session: Session, chain: Chain) -> None:
    opened = ChainPanel(Chain(tuple(step.replace(seed=None) for step in chain)), session)
    opened._live.value = True
    wait_for(lambda: not opened.busy and opened.result is not None)
    seed = opened.chain[0].seed
    made = opened.result
    assert made is not None and seed is not None and made.chain[0].seed == made.chain[1].seed == seed


def test_a_panel_opens_on_a_chain_or_its_run_and_follows_cells(chain: Chain, session: Session) -> None:
    opened = nbdiffuse.panel(chain)
    assert isinstance(opened, ChainPanel) and opened.chain == chain and opened.result is None
    ran = nbdiffuse.run(chain)
    assert panels.follow(chain.replace(2, seed=9), ran) is None, "the newest panel moves"
    assert opened.chain[1].seed == 9 and opened.result is ran
    with pytest.raises(ParameterError, match="must stand in a step"):
        nbdiffuse.panel(chain, seed=3)


@pytest.mark.parametrize("line", ["--panel", "--executor x", "--yes", "--measure ssim"])
def test_options_of_the_whole_chain_stand_on_its_first_line(line: str) -> None:
    with pytest.raises(ParameterError, match=r"Step 1: .*must"):
        parse_chain("", f"[sd15 {line}]\na cat")
    if line == "--panel":
        asked = parse_chain(line, "[sd15]\na cat")
        assert asked.panel and asked.steps[0].keys() == {"prompt", "model"}

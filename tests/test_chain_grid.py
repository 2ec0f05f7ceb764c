"""Sweeps of chains: axes on any step, every cell the chain that it says, common steps run once."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdiffuse
from nbdiffuse import Chain, Recipe, Session
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.errors import Interrupted, ParameterError, RunError
from nbdiffuse.runs.chain_grid import ChainGrid
from nbdiffuse.runs.chain_run import ChainRun
from nbdiffuse.sweeps.chain_sweep import ChainSweep


@pytest.fixture
def chain(scene: Any) -> Chain:
    first = Recipe(prompt="a robot in the snow", image=scene.image, num_inference_steps=4, seed=7)
    return first >> Recipe(prompt="a penguin in a city", num_inference_steps=5)


def test_every_cell_is_the_chain_that_it_says(chain: Chain) -> None:
    grid = ChainGrid(ChainSweep.of(chain, {"1.guidance_scale": [1, 7.5], "2.strength": [0.4, 0.8]}), Session()).run()
    assert [dict(cell.coordinates) for cell in grid.sweep.cells()] == [
        {"1.guidance_scale": g, "2.strength": s} for g in (1, 7.5) for s in (0.4, 0.8)
    ]
    for run, cell in zip(grid, grid.sweep.cells(), strict=True):
        values = dict(cell.coordinates)
        alone = chain.replace(1, guidance_scale=values["1.guidance_scale"]).replace(2, strength=values["2.strength"])
        # Cells share model calls, which add up in another order.
        expected = ChainRun(alone, Session()).run()
        assert run.chain == expected.chain and run.arrows == expected.arrows
        for made, single in zip(run, expected, strict=True):
            assert np.abs(np.asarray(made.image, int) - np.asarray(single.image, int)).max() <= 1, values
    assert grid.at(**{"1.guidance_scale": 7.5, "2.strength": 0.8}).image == grid[3].image


def test_what_cells_have_in_common_runs_once(chain: Chain) -> None:
    session = Session()
    grid = ChainGrid(ChainSweep.of(chain, {"2.strength": "0.4,0.6,0.8"}), session).run()
    assert len(session.history) == 4
    assert grid.sweep.plan_line() == "3 chains, 4 images, 12 steps"
    assert grid.plan_line().startswith("3 chains, 4 images, about ")
    assert len({run.image.tobytes() for run in grid}) == 3 and len({run[0].image.tobytes() for run in grid}) == 1


def test_the_same_step_of_all_chains_shares_model_calls(chain: Chain) -> None:
    grid = ChainGrid(ChainSweep.of(chain, {"1.seed": [1, 2], "2.strength": [0.4, 0.8]}), Session()).run()
    assert [[result.fingerprint["batch"] for result in run] for run in grid] == [["4 rows", "8 rows"]] * 4


def test_an_open_seed_is_one_for_all_cells(chain: Chain) -> None:
    sweep = ChainSweep.of(chain.replace(1, seed=None), {"2.strength": [0.4, 0.8]})
    assert len({step.seed for cell in sweep.cells() for step in cell.chain}) == 1


def test_it_is_shown_and_saved_like_a_grid(chain: Chain, tmp_path: Path) -> None:
    grid = nbdiffuse.sweep(chain, **{"2.strength": [0.4, 0.8]}).run()
    bundle = grid._repr_mimebundle_()
    assert bundle["text/plain"] == "sweep of a chain: 2.strength" and bundle["image/png"][:4] == b"\x89PNG"
    page = grid.save(tmp_path / "shown")
    assert sorted(file.name for file in page.parent.iterdir()) == ["cell-000.png", "cell-001.png", "index.html"]
    assert "2.strength" in page.read_text()


def test_a_stopped_grid_goes_on_where_it_stopped(chain: Chain) -> None:
    session = Session()
    grid = ChainGrid(ChainSweep.of(chain, {"2.strength": [0.4, 0.6, 0.8]}), session)

    def stop() -> None:
        if grid.missing < 3 and not stopped.is_set():
            stopped.set()
            raise KeyboardInterrupt

    stopped = threading.Event()
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        grid.run(stop)
    assert 0 < grid.missing < 3
    before = len(session.history)
    grid.run()
    assert grid.missing == 0 and len(session.history) == 4 > before - 1


def test_a_chain_that_fails_says_so_in_its_place_and_the_others_run(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = ChainGrid(ChainSweep.of(chain, {"2.strength": [0.4, 0.8]}), Session())

    def fail() -> None:
        raise RunError("Step 2: out of luck.")

    monkeypatch.setattr(grid._runs[0], "next_step", fail)
    grid.run()
    assert grid.missing == 1 and grid.notices == ("Step 2: out of luck.",)
    with pytest.raises(RunError, match="out of luck"):
        grid[0]
    assert grid[1].image.size == (128, 128)


@pytest.mark.parametrize(
    ("axes", "line"),
    [
        (
            {"strength": [0.4]},
            "`axis` must be a step and a field such as 2.strength, got 'strength'. Write 1.strength or 2.strength.",
        ),
        ({"3.strength": [0.4]}, "`axis` must be on a step in [1, 2], got '3.strength'."),
        ({"2.strenght": [0.4]}, "'strenght' is not a parameter. Did you mean 'strength'?"),
        ({"2.strength": [7]}, "`strength` must be a number in [0, 1], got 7"),
        ({"2.strength": []}, "`strength` must be at least one value, got none"),
        ({"2.image": ["cat.png"]}, "`2.image` must be what step 1 makes. Put the axis on `1.image`."),
        ({"2.num_inference_steps": [1], "2.strength": [0.5]}, "Step 2: `strength` must leave at least one step"),
        ({"1.seed": range(40), "2.seed": range(40)}, "`axes` must be at most 1000 cells, got 1600."),
    ],
)
def test_bad_axes_are_one_line_before_anything_runs(chain: Chain, axes: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(line)) as caught:
        ChainSweep.of(chain, axes)
    assert "\n" not in str(caught.value)


def test_a_cell_of_a_chain_with_several_values_asks_for_a_grid() -> None:
    asked = parse_chain("start", "[sd15 --strength 0.4,0.8]\na cat\n[comic -g 5,7.5]\na dog")
    assert dict(asked.axes) == {"1.strength": (0.4, 0.8), "2.guidance_scale": (5, 7.5)}


def test_the_magic_fills_a_grid(kernel: Any) -> None:
    made = kernel.run(
        "%%chain start --seed 1 -n 4 --out several\n"
        "[sd15 --strength 0.5]\na cat wizard\n"
        "[sd15 --strength 0.5,1]\na cat in the snow"
    )
    assert made.ok
    assert any(re.fullmatch(r"2 chains, 3 images, (8 steps|about \d+ s)", line) for line in made.texts())
    assert "sweep of a chain: 2.strength" in made.texts()
    assert kernel.run("several.missing, len(several)").ok

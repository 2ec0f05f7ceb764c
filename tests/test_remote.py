"""Grids on executors: threads, devices, and Dask's worker processes give the pictures that this process gives."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import HUNG

from nbdiffuse import Devices, Recipe, resolve, sweep
from nbdiffuse.engine.engine import Engine
from nbdiffuse.errors import Interrupted, ParameterError, RunError
from nbdiffuse.results import Result
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.sessions import remote
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a house", image=scene.image, num_inference_steps=4, strength=0.5, scheduler="DDIM", seed=5)


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None, "memory_limit": None}
    before = dict(os.environ)
    with distributed.LocalCluster(**options) as running, distributed.Client(running) as client:
        yield client
    # Dask tells its workers through this process's environment to take one thread; later tests' processes must not hear it.
    os.environ.clear()
    os.environ.update(before)


def pixels(grid: Grid) -> list[bytes]:
    return [cell.image.tobytes() for cell in grid]


def test_what_travels_is_text_and_bytes(recipe: Recipe, session: Any) -> None:
    complete = resolve(recipe)
    sent = remote.packed(complete)
    assert json.loads(sent[0])["prompt"] == "a house" and list(sent[1]) == [complete.image.address]
    answer = remote.run(*sent)
    for parcel in (sent, answer):
        names = [argument for code, argument, _ in pickletools.genops(pickle.dumps(parcel)) if "GLOBAL" in code.name]
        assert names == []
    result, expected = remote.unpacked(answer, complete), session.run(complete)
    assert isinstance(result, Result) and result.image.tobytes() == expected.image.tobytes()
    assert dict(result.fingerprint) == dict(expected.fingerprint) and result.recipe == complete
    assert result.initial and expected.initial and result.initial.tobytes() == expected.initial.tobytes()


def test_a_failing_recipe_sends_its_line_and_its_traceback_back(recipe: Recipe) -> None:
    complete = resolve(recipe.replace(checkpoint="no-such-checkpoint"))
    error = remote.unpacked(remote.run(*remote.packed(complete)), complete)
    assert type(error).__name__ == "CheckpointError" and "no-such-checkpoint" in str(error)
    unreadable = remote.unpacked(remote.run("{}", {}), complete)
    assert isinstance(unreadable, ParameterError) and "must be a JSON object of format 2 or 1" in str(unreadable)


def test_latents_do_not_travel(recipe: Recipe, session: Any, threads: ThreadPoolExecutor) -> None:
    latents = session.run(recipe).latents
    grid = Grid(Sweep.of(recipe.replace(image=latents), seed=[1, 2]), executor=threads)
    assert all(isinstance(cell, FailedCell) and "must be a picture to run on an executor" in str(cell.error) for cell in grid)


def test_a_grid_on_threads_and_on_devices_equals_single_runs(recipe: Recipe, threads: Any, session: Any) -> None:
    value = Sweep.of(recipe, guidance_scale=[1, 7], strength=[0.25, 0.3, 0.5])
    expected = [session.run(cell.recipe).image.tobytes() for cell in value.cells()]
    with Devices("cpu") as devices:
        for executor in (threads, devices):
            grid = Grid(value, executor=executor)
            assert pixels(grid) == expected
            assert [record["source"] for record in grid.records()][:2] == ["run", "equal to 0"]


def test_a_device_that_is_not_there_fails_in_place(recipe: Recipe) -> None:
    with Devices("cuda:77") as devices:
        (cell,) = Grid(Sweep.of(recipe), executor=devices)
    assert isinstance(cell, FailedCell)


@pytest.mark.parametrize("executor", [3, object(), "threads", ThreadPoolExecutor])
def test_what_is_no_executor_is_refused_at_once(recipe: Recipe, executor: Any) -> None:
    with pytest.raises(ParameterError, match=r"`executor` must be a concurrent.futures.Executor.*client.get_executor\(\)"):
        sweep(recipe, executor=executor, seed=[1, 2])


def test_an_executor_that_is_closed_says_so_in_each_cell(recipe: Recipe, tmp_path: Path) -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    for store in (None, Store(tmp_path)):
        cells = list(Grid(Sweep.of(recipe, seed=[1, 2]), store=store, executor=closed))
        assert all(isinstance(cell, FailedCell) and "The executor takes no work" in str(cell.error) for cell in cells)


def test_an_interrupt_cancels_what_was_not_begun_and_the_rest_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, run = [0], Engine.run

    def counting(engine: Engine, *rest: Any) -> Any:
        begun[0] += 1
        return run(engine, *rest)

    monkeypatch.setattr(Engine, "run", counting)
    store, value = Store(tmp_path), Sweep.of(recipe, seed=range(12))
    with ThreadPoolExecutor(1) as one:
        grid = Grid(value, store=store, executor=one)

        def stop_after_the_first() -> None:
            if grid.missing < 12:
                raise KeyboardInterrupt

        with pytest.raises(Interrupted, match=r"Stopped with \d+ of 12 distinct images finished"):
            grid.run(stop_after_the_first)
    finished = 12 - grid.missing
    # What was under way may have ended since; nothing else was begun.
    assert 0 < finished <= begun[0] <= finished + 2 < 12
    sources = [record["source"] for record in Grid(value, store=store).run().records()]
    assert sources.count("store") == finished and sources.count("run") == 12 - finished


def test_the_store_is_asked_with_the_fingerprint_of_the_worker(recipe: Recipe, tmp_path: Path, threads: Any) -> None:
    store, value = Store(tmp_path), Sweep.of(recipe, seed=[1, 2])
    Grid(value, store=store, executor=threads).run()
    assert [record["source"] for record in Grid(value, store=store).run().records()] == ["store", "store"]
    assert [record["source"] for record in Grid(value, store=store, executor=threads).run().records()] == ["store", "store"]


def test_a_grid_on_dask_workers_equals_single_runs_in_order(recipe: Recipe, cluster: Any, session: Any) -> None:
    value = Sweep.of(recipe, seed=range(6))
    executor = cluster.get_executor()
    grid = sweep(recipe, executor=executor, seed=range(6))
    filled: list[int] = []
    grid.run(lambda: filled.append(6 - grid.missing))
    assert filled == sorted(filled) and len(set(filled)) > 2  # it fills in
    # A worker may have another number of threads, which rounds sums in another order.
    for one, cell in zip(pixels(grid), value.cells(), strict=True):
        single = np.frombuffer(session.run(cell.recipe).image.tobytes(), np.uint8)
        assert np.abs(np.frombuffer(one, np.uint8).astype(int) - single).max() <= 1
    # The stop button signals the kernel's process group: the workers are no longer in it.
    assert os.getsid(0) not in cluster.run(lambda: os.getsid(0)).values()
    assert all(cluster.run(engines_here).values())


def engines_here() -> int:
    return len(remote._engines)


@pytest.fixture(scope="module")
def three(cluster: Any) -> Iterator[Any]:
    """The cluster with a third worker."""
    cluster.cluster.scale(3)
    cluster.wait_for_workers(3, timeout=HUNG)
    yield cluster


def killed_during(grid: Grid, workers: Any, after: int, which: int) -> None:
    """Run a grid and kill one of its workers when so many of its cells are there."""
    begun, count = list(workers.run(os.getpid).values()), len(grid.sweep.distinct())

    def kill_one() -> None:
        if begun and count - grid.missing >= after:
            os.kill(begun[which % len(begun)], signal.SIGKILL)
            begun.clear()

    grid.run(kill_one)
    assert not begun


@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_killed_worker_costs_only_its_current_cell(recipe: Recipe, three: Any, kills: int) -> None:
    dice = random.Random(kills)
    for number in range(kills):
        three.wait_for_workers(3, timeout=HUNG)
        first = 100 * (number + 1)
        grid = Grid(Sweep.of(recipe, seed=range(first, first + 12)), executor=three.get_executor())
        killed_during(grid, three, dice.randrange(11), dice.randrange(3))
        lost = [index for index, cell in enumerate(grid) if isinstance(cell, FailedCell)]
        assert len(lost) <= 1
        before = {index: cell.image.tobytes() for index, cell in enumerate(grid) if index not in lost}
        assert grid.run().missing == 0
        # Every cell once, in its place; what was there is not made again.
        assert [cell.recipe for cell in grid] == [cell.recipe for cell in grid.sweep.cells()]
        assert all(grid[index].image.tobytes() == content for index, content in before.items())
        assert len({cell.image.tobytes() for cell in grid}) == 12


def test_a_cell_takes_an_executor_by_name(recipe: Recipe, threads: Any) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdiffuse")
    shell.user_ns.update(start=recipe.image, pool=threads)
    run: Callable[..., Any] = shell.run_cell_magic
    run("img2img", "start --seed 1..2 -n 4 --strength 0.5 --executor pool --out grid", "a house")
    assert shell.user_ns["grid"].missing == 0
    with pytest.raises(ParameterError, match="a variable that holds an executor, or one of dask, devices, got 'poll'"):
        run("img2img", "start --seed 1..2 --executor poll", "a house")
    with pytest.raises(ParameterError, match=r"must be a concurrent.futures.Executor"):
        run("img2img", "start --seed 1..2 --executor start", "a house")
    with pytest.raises(ParameterError, match="`--executor` must go with several values"):
        run("img2img", "start --executor pool", "a house")
    with pytest.raises(ParameterError, match="add `--yes`"):
        run("img2img", "start --seed 1..100 --strength 0.01:1:0.01 -n 100 --executor pool", "a house")


def test_errors_of_unknown_kind_are_run_errors() -> None:
    answer = json.dumps({"error": "SomethingNew", "line": "no", "details": ""}), []
    assert isinstance(remote.unpacked(answer, resolve(Recipe(prompt="a cat"))), RunError)

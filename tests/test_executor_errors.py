"""Executors that fail: a worker that dies while it is asked, a closed cluster, cancelled work; each is one line of our own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from nbdiffuse import Recipe
from nbdiffuse.errors import Interrupted, NbdiffuseError, ParameterError, RunError
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.sessions.executor_errors import run_error
from nbdiffuse.sessions.runners import ExecutorRunner
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

RECIPE = Recipe(prompt="a cat", num_inference_steps=2, seed=1)


def lines(grid: Grid) -> list[str]:
    cells = list(grid)
    assert all(isinstance(cell, FailedCell) and isinstance(cell.error, RunError) for cell in cells)
    found = [str(cell.error) for cell in cells if isinstance(cell, FailedCell)]
    assert not any("\n" in line for line in found)
    return found


def test_a_worker_that_dies_while_it_is_asked_for_the_fingerprint_fails_the_cells(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        worker = pool.submit(os.getpid).result()
        # It takes seconds to import torch, so this finds it at the fingerprint.
        threading.Timer(0.3, lambda: os.kill(worker, signal.SIGKILL)).start()
        grid = Grid(Sweep.of(RECIPE, seed=[1, 2]), store=Store(tmp_path), executor=pool)
        assert all(line.startswith("The worker was lost: its process or thread ended.") for line in lines(grid))
    # Elsewhere the same grid is made.
    with ThreadPoolExecutor(1) as threads:
        assert Grid(grid.sweep, store=Store(tmp_path), executor=threads).run().missing == 0


@pytest.fixture
def dask() -> Any:
    distributed = pytest.importorskip("distributed")
    before = dict(os.environ)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield distributed.Client(cluster)
    os.environ.clear()
    os.environ.update(before)


def test_a_dask_client_that_is_closed_takes_no_work(dask: Any, tmp_path: Path) -> None:
    executor = dask.get_executor()
    dask.close()
    for store in (None, Store(tmp_path)):
        found = lines(Grid(Sweep.of(RECIPE, seed=[1, 2]), store=store, executor=executor))
        assert all(line.startswith("The executor takes no work: ") for line in found)


@pytest.mark.parametrize("stored", [True, False])
def test_a_dask_client_that_is_closed_while_it_is_asked_cancels_the_work(dask: Any, tmp_path: Path, stored: bool) -> None:
    # The only worker is busy, so the question waits until the client is closed.
    busy = dask.submit(time.sleep, 2)
    threading.Timer(0.3, dask.close).start()
    store = Store(tmp_path) if stored else None
    found = lines(Grid(Sweep.of(RECIPE, seed=[1, 2]), store=store, executor=dask.get_executor()))
    del busy
    assert found[0].startswith("The executor cancelled this work; it or its cluster may be closed.")


class KilledWorker(Exception):
    """Named as distributed's."""


ERRORS = {
    BrokenProcessPool("x"): "The worker was lost: its process or thread ended.",
    BrokenExecutor("x"): "The worker was lost: its process or thread ended.",
    CancelledError(): "The executor cancelled this work",
    asyncio.CancelledError(): "The executor cancelled this work",
    FutureTimeout(): "The executor did not answer in time.",
    KilledWorker("cell", "worker"): "The worker was lost: several died over this cell.",
    KeyboardInterrupt(): "The worker was interrupted.",
    RuntimeError("cannot schedule new futures after interpreter shutdown"): "The worker was lost: RuntimeError",
    RuntimeError("cannot schedule new futures after shutdown"): "The executor takes no work",
    ValueError("two\nlines"): "The worker was lost: ValueError: two lines",
    ParameterError("`x` must be y."): "`x` must be y.",
}


class Failing(Executor):
    """An executor of somebody else's, whose futures or whose `submit` fail."""

    def __init__(self, error: BaseException, at_once: bool) -> None:
        self.error, self.at_once = error, at_once

    def submit(self, *given: Any, **named: Any) -> Future[Any]:
        if self.at_once:
            raise self.error
        future: Future[Any] = Future()
        if isinstance(self.error, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_an_executor_raises_is_one_line(error: BaseException, at_once: bool, tmp_path: Path) -> None:
    own = isinstance(error, NbdiffuseError)
    assert str(run_error(error)).startswith(ERRORS[error])
    executor = Failing(error, at_once)
    if at_once and isinstance(error, KeyboardInterrupt):
        # That is the stop button, pressed while work was handed over.
        with pytest.raises(Interrupted):
            Grid(Sweep.of(RECIPE, seed=[1, 2]), store=Store(tmp_path), executor=executor).run()
        return
    for store in (None, Store(tmp_path)):
        cells = list(Grid(Sweep.of(RECIPE, seed=[1, 2]), store=store, executor=executor))
        assert all(isinstance(cell, FailedCell) and isinstance(cell.error, ParameterError if own else RunError) for cell in cells)
    with pytest.raises(NbdiffuseError):
        ExecutorRunner(executor).fingerprint(RECIPE)

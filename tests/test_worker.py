"""The worker: one job after the other, stoppable, and holding on to nothing."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from nbdiffuse.devices.worker import Job, Worker
from nbdiffuse.errors import Interrupted, NbdiffuseError, ParameterError, RunError
from nbdiffuse.sessions.waiting import wait

pytestmark = pytest.mark.quick


class Load:
    """Something large that a job makes."""


def test_jobs_run_one_after_the_other_on_one_thread() -> None:
    worker, seen, running = Worker("test"), [], threading.Lock()

    def work(stop: threading.Event) -> str:
        assert running.acquire(blocking=False)
        time.sleep(0.002)
        running.release()
        seen.append(threading.current_thread().name)
        return "done"

    jobs = [worker.submit(work) for _ in range(20)]
    assert [job.result(10) for job in jobs] == ["done"] * 20 and seen == ["test"] * 20


def test_submitting_returns_at_once() -> None:
    worker = Worker("test")
    first = worker.submit(lambda stop: time.sleep(0.3))
    started = time.monotonic()
    worker.submit(lambda stop: None)
    assert time.monotonic() - started < 0.05 and not first.done


def test_a_queued_job_that_is_stopped_never_starts() -> None:
    worker, gate, ran = Worker("test"), threading.Event(), []
    worker.submit(lambda stop: gate.wait(5))
    queued = worker.submit(lambda stop: ran.append(1))
    queued.stop()
    gate.set()
    with pytest.raises(Interrupted, match="before it began"):
        queued.result(5)
    assert ran == []


def test_a_stop_does_not_leak_into_the_next_job() -> None:
    worker = Worker("test")
    first = worker.submit(lambda stop: stop.wait(5))
    first.stop()
    assert first.result(5) is True
    assert worker.submit(lambda stop: stop.is_set()).result(5) is False


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), MemoryError("x"), AssertionError("x")], ids=repr
)
def test_the_worker_outlives_every_error_and_frees_its_frames(error: BaseException) -> None:
    worker, held = Worker("test"), []

    def work(stop: threading.Event) -> None:
        load = Load()
        held.append(weakref.ref(load))
        raise error

    with pytest.raises(RunError, match=type(error).__name__) as caught:
        worker.submit(work).result(5)
    gc.collect()
    assert held[0]() is None
    assert "in work" in caught.value.details
    assert worker.submit(lambda stop: 7).result(5) == 7


def test_our_own_errors_come_through_as_they_are() -> None:
    def work(stop: threading.Event) -> None:
        raise ParameterError("`x` must be y, got z.")

    with pytest.raises(ParameterError, match="`x` must be y, got z"):
        Worker("test").submit(work).result(5)


def test_an_idle_worker_keeps_no_result() -> None:
    worker = Worker("test")
    job = worker.submit(lambda stop: Load())
    reference = weakref.ref(job.result(5))
    del job
    time.sleep(0.05)
    gc.collect()
    assert reference() is None


def test_waiting_passes_the_result_and_calls_back() -> None:
    worker, calls = Worker("test"), []
    job: Job[int] = worker.submit(lambda stop: (time.sleep(0.2), 5)[1])
    assert wait(job, lambda: calls.append(1)) == 5 and len(calls) >= 2  # type: ignore[arg-type, comparison-overlap]


def test_an_error_is_one_red_line_in_a_notebook() -> None:
    (line,) = NbdiffuseError("`x` must be y.")._render_traceback_()
    assert line == "\x1b[31mNbdiffuseError\x1b[0m: `x` must be y."

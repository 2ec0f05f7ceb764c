"""The worker: one job after the other, stoppable, and holding on to nothing."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from waiting import HUNG, wait_for

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
    assert [job.result(HUNG) for job in jobs] == ["done"] * 20 and seen == ["test"] * 20


def test_submitting_returns_at_once() -> None:
    worker, gate = Worker("test"), threading.Event()
    first = worker.submit(lambda stop: gate.wait(HUNG))
    second = worker.submit(lambda stop: None)
    assert not first.done and not second.done
    gate.set()
    assert first.result(HUNG) and second.result(HUNG) is None


def test_a_queued_job_that_is_stopped_never_starts() -> None:
    worker, gate, ran = Worker("test"), threading.Event(), []
    worker.submit(lambda stop: gate.wait(HUNG))
    queued = worker.submit(lambda stop: ran.append(1))
    queued.stop()
    gate.set()
    with pytest.raises(Interrupted, match="before it began"):
        queued.result(HUNG)
    assert ran == []


def test_a_stop_does_not_leak_into_the_next_job() -> None:
    worker = Worker("test")
    first = worker.submit(lambda stop: stop.wait(HUNG))
    first.stop()
    assert first.result(HUNG) is True
    assert worker.submit(lambda stop: stop.is_set()).result(HUNG) is False


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
        worker.submit(work).result(HUNG)
    gc.collect()
    assert held[0]() is None
    assert "in work" in caught.value.details
    assert worker.submit(lambda stop: 7).result(HUNG) == 7


def test_our_own_errors_come_through_as_they_are() -> None:
    def work(stop: threading.Event) -> None:
        raise ParameterError("`x` must be y, got z.")

    with pytest.raises(ParameterError, match="`x` must be y, got z"):
        Worker("test").submit(work).result(HUNG)


def test_an_idle_worker_keeps_no_result() -> None:
    worker = Worker("test")
    job = worker.submit(lambda stop: Load())
    reference = weakref.ref(job.result(HUNG))
    del job
    # Its thread lets go of a job after it has told what came of it.
    wait_for(lambda: gc.collect() is not None and reference() is None)


def test_waiting_passes_the_result_and_calls_back() -> None:
    worker, calls, again = Worker("test"), [], threading.Event()

    def called() -> None:
        calls.append(1)
        if len(calls) == 2:
            again.set()

    job: Job[int] = worker.submit(lambda stop: 5 if again.wait(HUNG) else 0)
    assert wait(job, called) == 5 and len(calls) >= 2


def test_an_error_is_one_red_line_in_a_notebook() -> None:
    (line,) = NbdiffuseError("`x` must be y.")._render_traceback_()
    assert line == "\x1b[31mNbdiffuseError\x1b[0m: `x` must be y."

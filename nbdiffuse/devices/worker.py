"""The one thread that does all work of a device: a queue of jobs that can be waited for and stopped."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import Interrupted, NbdiffuseError, RunError, again

T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """Work handed to the worker.

    Parameters
    ----------
    work
        Called on the worker with the job's stop flag.
    """

    work: Callable[[threading.Event], T] | None
    future: Future[T] = field(default_factory=Future)
    stop_flag: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Ask the job to end after the step under way; a job still in the queue never starts."""
        self.stop_flag.set()

    @property
    def done(self) -> bool:
        """Whether a result or an error is there."""
        return self.future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, or raise the job's error.

        Parameters
        ----------
        timeout
            Seconds to wait, at least 0; None waits as long as it takes.

        Raises
        ------
        concurrent.futures.TimeoutError
            The job still runs.
        """
        error = self.future.exception(timeout)
        if isinstance(error, NbdiffuseError):
            raise again(error)
        return self.future.result(timeout)


class Worker:
    """Run jobs one after the other on a thread of their own, started with the first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job[Any]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, work: Callable[[threading.Event], T]) -> Job[T]:
        """Queue work and return at once."""
        job: Job[T] = Job(work)
        with self._lock:
            self._jobs.put(job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()
        return job

    @property
    def waiting(self) -> bool:
        """Whether there are jobs behind the one under way."""
        return not self._jobs.empty()

    def _loop(self) -> None:
        while True:
            job = self._jobs.get()
            _execute(job)
            # An idle thread must not keep the last job's pictures and tensors alive.
            del job


def _execute(job: Job[Any]) -> None:
    work, job.work = job.work, None
    if work is None:
        return
    if job.stop_flag.is_set():
        job.future.set_exception(Interrupted("Stopped before it began."))
        return
    failure: NbdiffuseError | None = None
    result: Any = None
    try:
        result = work(job.stop_flag)
    except BaseException as error:  # the worker outlives whatever a pipeline throws
        failure = detached(error)
    del work
    if failure is None:
        job.future.set_result(result)
    else:
        job.future.set_exception(failure)


def detached(error: BaseException) -> NbdiffuseError:
    """Free every frame of the failed run, so that no tensor of it stays reachable, and keep the text."""
    details = "".join(traceback.format_exception(error))
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain.__traceback__ = None
        following = chain.__cause__ or chain.__context__
        chain.__cause__ = chain.__context__ = None
        chain = following
    if isinstance(error, NbdiffuseError):
        clean = error
    else:
        clean = RunError(f"{type(error).__name__} while the pipeline ran: {error}")
    clean.details = clean.details or details
    return clean

"""Waiting for a job, with Ctrl-C and the ■ button."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

from ..devices.worker import Job
from ..errors import Interrupted

T = TypeVar("T")


def wait(job: Job[T], while_waiting: Callable[[], None] = lambda: None, interval: float = 0.05) -> T:
    """Wait for a job on the calling thread; an interrupt stops the job and waits for its end.

    Parameters
    ----------
    job
        From `Session.submit` or `Session.submit_batch`.
    while_waiting
        Called about every `interval` seconds, to show progress.
    interval
        Seconds, above 0.
    """
    interrupts = 0
    while True:
        try:
            if job.done:
                return job.result()
            while_waiting()
            job.future.exception(interval)
        except futures.TimeoutError:  # from Python 3.11 on the builtin
            continue
        except KeyboardInterrupt:
            interrupts += 1
            job.stop()
            if interrupts >= 3:
                break
    raise Interrupted("Left waiting: the step under way ends on the worker, and its result is thrown away.")

"""The session: one worker, its pipelines, and everything that was made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from .errors import Interrupted
from .presets import resolve
from .recipe import Recipe
from .worker import Job, Worker

if TYPE_CHECKING:
    from .engine import Engine, Progress
    from .pipelines import Pipelines
    from .results import Result


T = TypeVar("T")
HISTORY = 200
"""Results that a session remembers; older ones live as long as somebody holds them."""


class Session:
    """Run recipes on one device; any number of threads may use it.

    Parameters
    ----------
    device
        Such as "cuda:0" or "cpu"; the GPU where there is one when not given.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._worker = Worker("nbdiffuse")
        self._engine: Engine | None = None
        self.history: deque[Result] = deque(maxlen=HISTORY)

    def submit(self, recipe: Recipe, on_progress: Callable[[Progress], None] | None = None) -> Job[Result]:
        """Check and complete a recipe, queue it, and return at once.

        Parameters
        ----------
        recipe
            What to run; fields left open get the preset's defaults.
        on_progress
            Called on the worker after each step; it must return quickly.

        Returns
        -------
        The job: `result()` waits, `stop()` ends it after the step under way.

        Raises
        ------
        ParameterError
            The recipe breaks a rule; nothing was queued.
        """
        complete = resolve(recipe)

        def work(stop: threading.Event) -> Result:
            result = self._ready_engine().run(complete, on_progress or _ignore, stop)
            self.history.append(result)
            return result

        return self._worker.submit(work)

    def run(self, recipe: Recipe, on_progress: Callable[[Progress], None] | None = None) -> Result:
        """Run a recipe and wait for its result.

        Interrupting stops the run after the step under way.

        Raises
        ------
        ParameterError, ImageInputError
            The recipe breaks a rule; nothing was run.
        Interrupted
            The run was stopped.
        RunError
            The pipeline failed.
        """
        job = self.submit(recipe, on_progress)
        return wait(job)

    def fingerprint(self, recipe: Recipe) -> dict[str, str]:
        """Return, before a complete recipe runs, the fingerprint that its result will have; waits for the run under way."""
        return self._worker.submit(lambda stop: self._ready_engine().fingerprint(recipe)).result()

    def with_pipelines(self, work: Callable[[Pipelines], T]) -> T:
        """Call `work` with the resident pipelines, on the worker; waits for the run under way."""
        return self._worker.submit(lambda stop: work(self._ready_engine().pipelines)).result()

    def warm_up(self) -> Job[None]:
        """Load the libraries on the worker, so that the first run starts sooner."""
        return self._worker.submit(lambda stop: (self._ready_engine(), None)[1])

    def _ready_engine(self) -> Engine:
        # torch and diffusers take seconds to import: on the worker, at the first run.
        if self._engine is None:
            from .engine import Engine
            from .pipelines import Pipelines

            self._engine = Engine(Pipelines(self._device))
        return self._engine


def _ignore(progress: Progress) -> None:
    return None


def wait(job: Job[Result], while_waiting: Callable[[], None] = lambda: None, interval: float = 0.05) -> Result:
    """Wait for a job on the calling thread; an interrupt stops the job and waits for its end.

    Parameters
    ----------
    job
        From `Session.submit`.
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
        except TimeoutError:
            continue
        except KeyboardInterrupt:
            interrupts += 1
            job.stop()
            if interrupts >= 3:
                break
    raise Interrupted("Left waiting: the step under way ends on the worker, and its result is thrown away.")


@cache
def get_session() -> Session:
    """Return this process's session, made at the first call."""
    return Session()


def run(recipe: Recipe) -> Result:
    """Run a recipe in this process's session and wait for its result."""
    return get_session().run(recipe)

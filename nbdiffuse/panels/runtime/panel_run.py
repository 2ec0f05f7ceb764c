"""Runs of a panel: one at a time, and of those that wait only the newest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

from ...devices.worker import Job
from ...errors import Interrupted, NbdiffuseError, RunError
from ...recipes.recipe import Recipe
from ...sessions.session import Session
from .callback_thread import CallbackThread

if TYPE_CHECKING:
    from ...engine.progress import Progress

FRAME = 0.1
"""Seconds between pictures of a run that the page is sent, at least."""


class Listener(Protocol):
    """Called when runs start, go on and end, on the callback thread."""

    def guarded(self, work: Callable[..., None]) -> Callable[..., None]: ...
    def started(self) -> None: ...
    def on_progress(self, progress: Progress | None, waited: float) -> None: ...
    def ended(self, made: Any, error: NbdiffuseError | None) -> None: ...


class Runner:
    """Run one thing at a time; everything here is called on the callback thread.

    Parameters
    ----------
    listener
        Told when a run starts, moves on and ends; not of the end of a run that a newer
        one replaced. Its `guarded` shows what goes wrong here.
    """

    def __init__(self, thread: CallbackThread, listener: Listener) -> None:
        self._thread, self._listener = thread, listener
        self._job: Job[Any] | None = None
        self._next: Callable[[Callable[[Any], None]], Job[Any]] | None = None
        self._latest: Progress | None = None
        self._preview: Any = None
        self._painted = self._began = 0.0
        self._painting = False

    @property
    def busy(self) -> bool:
        """Whether a run is under way or waits."""
        return self._job is not None

    def run(self, begin: Callable[[Callable[[Any], None]], Job[Any]]) -> None:
        """Run, after stopping what runs.

        Parameters
        ----------
        begin
            Starts the work with a function to be told of its progress, and returns its job at once.
        """
        if self._job is not None:
            self._next = begin
            self._job.stop()
            return
        self._latest, self._preview, self._began = None, None, time.monotonic()
        try:
            self._job = begin(self._note)
        except NbdiffuseError as error:
            self._listener.ended(None, error)
            return
        end = self._listener.guarded(self._end)
        self._job.future.add_done_callback(lambda future: self._thread.post(lambda: end(future)))
        self._listener.started()
        self._tick()

    def stop(self) -> None:
        """Stop the run under way, and forget the one that waits."""
        self._next = None
        if self._job is not None:
            self._job.stop()

    def _note(self, progress: Any) -> None:
        """Take note of progress; called on the worker."""
        self._latest = progress
        # A preview comes now and then; it waits for the next painting, whichever step that shows.
        self._preview = getattr(progress, "preview", None) or self._preview
        if not self._painting:
            self._painting = True
            self._thread.post(self._listener.guarded(self._paint), after=max(0.0, self._painted + FRAME - time.monotonic()))

    def _paint(self) -> None:
        self._painting = False
        self._painted = time.monotonic()
        progress, preview, self._preview = self._latest, self._preview, None
        if progress is not None and preview is not None:
            progress = dataclasses.replace(progress, preview=preview)
        if self._job is not None:
            self._listener.on_progress(progress, self._painted - self._began)

    def _tick(self) -> None:
        """Count the seconds until there is progress to show."""
        if self._job is not None and self._latest is None:
            self._listener.on_progress(None, time.monotonic() - self._began)
            self._thread.post(self._listener.guarded(self._tick), after=1.0, key=f"tick {id(self)}")

    def _end(self, future: Future[Any]) -> None:
        self._job = None
        error = future.exception()
        following, self._next = self._next, None
        # That a newer run took its place is no news.
        if following is None or not isinstance(error, Interrupted):
            made = None if error else future.result()
            self._listener.ended(made, error if isinstance(error, NbdiffuseError) or error is None else RunError(str(error)))
        if following is not None:
            self.run(following)


def begin_recipe(session: Session, recipe: Recipe) -> Callable[[Callable[[Any], None]], Job[Any]]:
    """Return a function that starts a complete recipe in a session."""
    return lambda note: session.submit(recipe, note)


class Waiting(Protocol):
    """A value whose `run` returns when all of it has run, such as a grid or a chain's run."""

    def run(self, while_waiting: Callable[[], None]) -> Any: ...


def begin_waiting(runs: Waiting, done: Callable[[], int]) -> Callable[[Callable[[Any], None]], Job[Any]]:
    """Return a function that starts a grid or a chain's run on a thread that waits for it; its progress is what is run.

    Parameters
    ----------
    done
        Returns another number once another part is there.
    """

    def begin(note: Callable[[Any], None]) -> Job[Any]:
        job: Job[Any] = Job(None)
        Thread(target=_wait_for, args=(runs, done, job, note), name="nbdiffuse-runs", daemon=True).start()
        return job

    return begin


def _wait_for(runs: Waiting, done: Callable[[], int], job: Job[Any], note: Callable[[Any], None]) -> None:
    told: list[int] = []
    noted = [0.0]

    def while_waiting() -> None:
        if time.monotonic() - noted[0] > FRAME:
            noted[0] = time.monotonic()
            note(runs)
        # Once for each part that is under way: an interrupt that comes again means "leave at once".
        if job.stop_flag.is_set() and told[-1:] != [done()]:
            told.append(done())
            raise KeyboardInterrupt

    failure: NbdiffuseError
    try:
        runs.run(while_waiting)
    except NbdiffuseError as error:
        failure = error
    except KeyboardInterrupt:
        failure = Interrupted("Stopped between two parts. Run it again for the rest.")
    except Exception as error:
        failure = RunError(f"{type(error).__name__} while it ran: {error}")
    else:
        job.future.set_result(runs)
        return
    job.future.set_exception(failure)

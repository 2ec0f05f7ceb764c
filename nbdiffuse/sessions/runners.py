"""Runners: where the cells of a sweep are run, here or on an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.snapshots import Snapshot
from ..recipes.presets import mode_of
from ..recipes.recipe import Recipe
from ..results import Result
from . import remote
from .executor_errors import run_error
from .named_executors import named_executor
from .session import Session
from .waiting import wait

if TYPE_CHECKING:
    from ..devices.worker import Job
    from ..engine.progress import Progress

Outcome = Result | NbdiffuseError
OnProgress = Callable[[int, "Progress | None"], None]
OnOutcome = Callable[[int, Outcome], None]


class Runner(Protocol):
    """Runs recipes and tells what came of each."""

    ahead: int
    """Recipes that are worth being handed over together."""

    def look_again(self) -> None:
        """Take the files that checkpoints stand for now; until the next call they stay the same."""

    def fingerprint(self, recipe: Recipe) -> Mapping[str, str]:
        """Return, before a complete recipe runs, the fingerprint that its result will have."""

    def run(
        self, recipes: Sequence[Recipe], on_progress: OnProgress, on_outcome: OnOutcome, while_waiting: Callable[[], None]
    ) -> None:
        """Run complete recipes and wait for them.

        Parameters
        ----------
        recipes
            Those of one checkpoint stand together.
        on_progress
            Called on any thread with a recipe's index and where its run is, or None when it begins.
        on_outcome
            Called on the calling thread with a recipe's index and its result or error, once for each.
        while_waiting
            Called on the calling thread about every 50 ms.

        Raises
        ------
        Interrupted, KeyboardInterrupt
            It was stopped; what was finished before has its outcome.
        """


class SessionRunner:
    """Run recipes on this process's worker, where they share model calls.

    Parameters
    ----------
    session
        Whose worker it is.
    """

    ahead = 8

    def __init__(self, session: Session) -> None:
        self._session = session
        self._snapshot = Snapshot()

    def look_again(self) -> None:
        """See `Runner`."""
        self._snapshot = Snapshot()

    def fingerprint(self, recipe: Recipe) -> Mapping[str, str]:
        """See `Runner`; waits for the run under way."""
        return self._session.fingerprint(recipe, self._snapshot)

    def run(
        self, recipes: Sequence[Recipe], on_progress: OnProgress, on_outcome: OnOutcome, while_waiting: Callable[[], None]
    ) -> None:
        """See `Runner`. Other work that waits for the worker gets its turn in between."""
        missing = list(range(len(recipes)))
        while missing:
            ended = self._batch(recipes, missing, on_progress, on_outcome, while_waiting)
            missing = [index for index in missing if index not in ended]

    def _batch(
        self,
        recipes: Sequence[Recipe],
        indices: Sequence[int],
        on_progress: OnProgress,
        on_outcome: OnOutcome,
        while_waiting: Callable[[], None],
    ) -> set[int]:
        """Run recipes as one job and return the indices of those that ended."""
        outcomes: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        ended: set[int] = set()

        def take_over() -> None:
            for index, outcome in _drained(outcomes):
                ended.add(index)
                on_outcome(index, outcome)

        def meanwhile() -> None:
            take_over()
            while_waiting()

        job: Job[None] | None = None
        failure: NbdiffuseError | None = None
        try:
            job = self._session.submit_batch(
                [recipes[index] for index in indices],
                lambda place, progress: on_progress(indices[place], progress),
                lambda place, outcome: outcomes.put((indices[place], outcome)),
                self._snapshot,
            )
            wait(job, meanwhile)
            if job.stop_flag.is_set():
                # It came when the last of these had just ended: there may be more to do for whoever calls.
                raise Interrupted("Stopped.")
        except (Interrupted, KeyboardInterrupt):
            raise
        except NbdiffuseError as error:
            failure = error.with_traceback(None)
        finally:
            if job is not None:
                job.stop()
            take_over()
        if failure is not None:
            # The libraries could not be loaded, say: that concerns them all.
            for index in [index for index in indices if index not in ended]:
                ended.add(index)
                on_outcome(index, failure)
        return ended


def _drained(queue: SimpleQueue[tuple[int, Outcome]]) -> list[tuple[int, Outcome]]:
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


class ExecutorRunner:
    """Run each recipe as one task of an executor; see `remote` for what travels.

    Parameters
    ----------
    executor
        Such as Dask's `Client.get_executor()`, or `remote.Devices`; or a word, see `named_executors`.

    Raises
    ------
    ParameterError
        It is no `concurrent.futures.Executor`.
    """

    ahead = 64

    def __init__(self, executor: Any) -> None:
        if isinstance(executor, str):
            executor = named_executor(executor)
        if not isinstance(executor, Executor):
            way_out = "A Dask client gives one: client.get_executor()."
            raise ParameterError(breaks_rule("executor", "a concurrent.futures.Executor", executor, way_out))
        self._executor = executor
        self._fingerprints: dict[tuple[Any, ...], Mapping[str, str]] = {}

    def look_again(self) -> None:
        """See `Runner`; workers look at their files at every run, and what they said of them is asked again."""
        self._fingerprints = {}

    def fingerprint(self, recipe: Recipe) -> Mapping[str, str]:
        """See `Runner`; of the worker that answers first."""
        nets = tuple(net.checkpoint for net in recipe.controlnets)
        weights = recipe.model, recipe.checkpoint, recipe.vae, recipe.loras, recipe.embeddings, nets, recipe.ip_adapters
        decisive = *weights, recipe.scheduler, recipe.scheduler_config, mode_of(recipe)
        if decisive not in self._fingerprints:
            self._fingerprints[decisive] = remote.fingerprint_of(self._answer(recipe))
        return self._fingerprints[decisive]

    def run(
        self, recipes: Sequence[Recipe], on_progress: OnProgress, on_outcome: OnOutcome, while_waiting: Callable[[], None]
    ) -> None:
        """See `Runner`. An interrupt cancels what was not begun; what was begun ends on its worker, and is thrown away."""
        futures: dict[Future[Any], int] = {}
        waiting: set[Future[Any]] = set()
        try:
            for index, recipe in enumerate(recipes):
                futures[self._submit(remote.run, recipe)] = index
            waiting = set(futures)
            while waiting:
                done, waiting = wait_for(waiting, timeout=0.05, return_when=FIRST_COMPLETED)
                if not done and self._nothing_will_come(waiting):
                    done, waiting = waiting, set()
                for future in sorted(done, key=futures.__getitem__):
                    on_outcome(futures[future], _outcome(future, recipes[futures[future]]))
                for future in waiting:
                    if future.running():
                        on_progress(futures[future], None)
                while_waiting()
        finally:
            self._cancel(futures)

    def _answer(self, recipe: Recipe) -> remote.Answer:
        """Ask a worker for a fingerprint and wait; what becomes of the executor meanwhile is an error of our own."""
        future = self._submit(remote.fingerprint, recipe)
        try:
            while wait_for([future], timeout=0.05).not_done and not self._nothing_will_come({future}):
                pass
        finally:
            self._cancel([future])
        failure = _failure(future)
        if failure is not None:
            raise failure
        answer: remote.Answer = future.result()
        return answer

    def _nothing_will_come(self, waiting: set[Future[Any]]) -> bool:
        """Whether the executor's Dask client is closed: it may forget futures that were handed over meanwhile."""
        # Those that it did not forget end with it.
        return self._closed and not wait_for(waiting, timeout=1.0, return_when=FIRST_COMPLETED).done

    @property
    def _closed(self) -> bool:
        return getattr(getattr(self._executor, "_client", None), "status", "") == "closed"

    def _cancel(self, futures: Iterable[Future[Any]]) -> None:
        # A closed client cannot be told, and would print a traceback for each.
        if not self._closed:
            for future in futures:
                future.cancel()

    def _submit(self, work: Callable[..., Any], recipe: Recipe) -> Future[Any]:
        failed: Future[Any] = Future()
        try:
            return self._executor.submit(work, *remote.packed(recipe))
        except NbdiffuseError as error:
            failed.set_exception(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # each executor has its own way to say that it takes no work
            failed.set_exception(run_error(error, submitting=True))
        return failed


def _outcome(future: Future[Any], recipe: Recipe) -> Outcome:
    failure = _failure(future)
    return remote.unpacked(future.result(), recipe) if failure is None else failure


def _failure(future: Future[Any]) -> NbdiffuseError | None:
    """Return why a future that is done has no result; what its worker raised is not raised here, an interrupt least of all."""
    if future.cancelled() or not future.done():
        return run_error(CancelledError())
    error = future.exception()
    return None if error is None else run_error(error)

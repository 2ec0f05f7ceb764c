"""The session: one worker, its pipelines, and everything that was made."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from ..devices.worker import Job, Worker
from ..errors import NbdiffuseError
from ..files.snapshots import Snapshot
from ..recipes import prompt_embeddings, prompt_loras
from ..recipes.comparison import identify_with
from ..recipes.controlnets import preprocess_with
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.segmenters import segment_with
from ..recipes.steps import real_steps
from ..store.store import predictable
from .picture_models import PictureModels
from .waiting import wait

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.progress import Progress
    from ..pipelines.pipelines import Pipelines
    from ..prompts.tokens import TokenView
    from ..results import Result


T = TypeVar("T")
_RECORDED = ContextVar("recorded", default=True)
_LOCAL_ONLY = ContextVar("local_only", default=False)
HISTORY = 200
"""Results that a session remembers; older ones live as long as somebody holds them."""


class Session(PictureModels):
    """Run recipes on one device; any number of threads may use it.

    Parameters
    ----------
    device
        Such as "cuda:0", "mps" or "cpu"; where not given a CUDA GPU, else Apple's, else the CPU.
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
        complete, record = resolve(recipe), self._recorder()

        def work(stop: threading.Event) -> Result:
            result = self._ready_engine().run(complete, on_progress or _ignore, stop)
            record(result)
            return result

        return self._submit(work)

    def submit_batch(
        self,
        recipes: Sequence[Recipe],
        on_progress: Callable[[int, Progress], None],
        on_outcome: Callable[[int, Result | NbdiffuseError], None],
        snapshot: Snapshot | None = None,
    ) -> Job[None]:
        """Check and complete recipes, queue them as one job in which they share model calls, and return at once.

        Parameters
        ----------
        recipes
            What to run; those of one checkpoint stand together.
        on_progress
            Called on the worker with a recipe's index and where its run is; it must return quickly.
        on_outcome
            Called on the worker with a recipe's index and its result or error, as they end.
        snapshot
            Which files checkpoints stand for, of several batches that belong together.

        Returns
        -------
        The job. It ends early, and recipes are left without an outcome, when another
        job waits for the worker: submit them again.

        Raises
        ------
        ParameterError
            A recipe breaks a rule; nothing was queued.
        """
        complete, record = [resolve(recipe) for recipe in recipes], self._recorder()

        def settled(index: int, outcome: Result | NbdiffuseError) -> None:
            if not isinstance(outcome, NbdiffuseError):
                record(outcome)
            on_outcome(index, outcome)

        def work(stop: threading.Event) -> None:
            engine = self._ready_engine()
            from ..engine.batching import ContinuousBatch

            ContinuousBatch(engine, complete, on_progress, settled, stop, lambda: self._worker.waiting, snapshot).run()

        return self._submit(work)

    def submit_clip(self, recipe: Recipe, frames: Sequence[Image.Image], motion_adapter: str) -> Job[list[Image.Image]]:
        """Queue a call that redraws all frames of a clip, and return at once; parameters and errors as for `redraw_clip`."""

        def work(stop: threading.Event) -> list[Image.Image]:
            engine = self._ready_engine()
            from ..engine.clips import redraw_clip

            return redraw_clip(engine, recipe, frames, motion_adapter, stop)

        return self._submit(work)

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

    def recall(self, recipe: Recipe) -> Result | None:
        """Return the newest result of a complete recipe that this session remembers, if it would come out the same now."""
        found = next((result for result in reversed(self.history) if result.recipe == recipe), None)
        return found if found is not None and predictable(found.fingerprint) == self.fingerprint(recipe) else None

    def seconds_per_step(self, models: Collection[str]) -> float | None:
        """Return how long a step of some models took lately, in seconds; None where none of them ran."""
        past = [result for result in self.history if result.recipe.model in models][-9:]
        # The first run of a session is slower than what follows.
        return statistics.median(result.seconds / max(1, real_steps(result.recipe)) for result in past) if past else None

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Leave what is submitted inside this block out of the history, such as a check's runs."""
        token = _RECORDED.set(False)
        try:
            yield
        finally:
            _RECORDED.reset(token)

    @contextmanager
    def local_only(self) -> Iterator[None]:
        """Keep what is submitted inside this block from the network: checkpoints come from this disk alone.

        What is not there fails with a `CheckpointError`.
        """
        token = _LOCAL_ONLY.set(True)
        try:
            yield
        finally:
            _LOCAL_ONLY.reset(token)

    def _submit(self, work: Callable[[threading.Event], T]) -> Job[T]:
        """Queue work; whether it may use the network is asked on the thread that submits."""
        if not _LOCAL_ONLY.get():
            return self._worker.submit(work)

        def local(stop: threading.Event) -> T:
            self._ready_engine()
            from ..checkpoints.hub import without_network

            with without_network():
                return work(stop)

        return self._worker.submit(local)

    def _recorder(self) -> Callable[[Result], None]:
        """Return what a job that is submitted now does with its results; asked on the thread that submits."""
        return self._record if _RECORDED.get() else _forget

    def _record(self, result: Result) -> None:
        if result.problem is None:
            self.history.append(result)

    def fingerprint(self, recipe: Recipe, snapshot: Snapshot | None = None) -> dict[str, str]:
        """Return, before a complete recipe runs, the fingerprint that its result will have; waits for the run under way."""

        def ask(pipelines: Pipelines) -> dict[str, str]:
            with pipelines.held(snapshot):
                return self._ready_engine().fingerprint(recipe)

        return self.with_pipelines(ask)

    def tokens(self, recipe: Recipe) -> TokenView:
        """Show how the prompts of a recipe, complete or not, become tokens; no weights are loaded.

        Raises
        ------
        ParameterError
            A prompt breaks the syntax of the recipe's `weighting`.
        CheckpointError
            The checkpoint has no tokenizer, or cannot be found.
        """

        def look(pipelines: Pipelines) -> TokenView:
            from ..engine.tokenization import view

            return view(pipelines, prompt_embeddings.applied(prompt_loras.applied(recipe)))

        return self.with_pipelines(look)

    def with_pipelines(self, work: Callable[[Pipelines], T]) -> T:
        """Call `work` with the resident pipelines, on the worker; waits for the run under way."""
        return self._submit(lambda stop: work(self._ready_engine().pipelines)).result()

    def warm_up(self) -> Job[None]:
        """Load the libraries on the worker, so that the first run starts sooner."""
        return self._worker.submit(lambda stop: (self._ready_engine(), None)[1])

    def _ready_engine(self) -> Engine:
        # torch and diffusers take seconds to import: on the worker, at the first run.
        if self._engine is None:
            from ..library_logging import silence_libraries

            # Before the pipelines are imported: that is when transformers says what is not installed.
            silence_libraries()
            from ..engine.engine import Engine
            from ..pipelines.pipelines import Pipelines

            self._engine = Engine(Pipelines(self._device))
        return self._engine


def _ignore(progress: Progress) -> None:
    return None


def _forget(result: Result) -> None:
    return None


@cache
def get_session() -> Session:
    """Return this process's session, made at the first call."""
    return Session()


preprocess_with(lambda image, name: get_session().control_picture(image, name))
segment_with(lambda image, selection: get_session().select_mask(image, selection.text))
identify_with(lambda pairs, checkpoint: get_session().identities(pairs, checkpoint))

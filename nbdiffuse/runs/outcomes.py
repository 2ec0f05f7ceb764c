"""Outcomes: each distinct cell of a sweep is remembered, found in the store, or run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import FileError, Interrupted, NbdiffuseError
from ..recipes.notices import before_run
from ..recipes.recipe import Recipe
from ..recipes.sizes import fitted_pictures
from ..results import Result
from ..sessions.runners import Runner, SessionRunner
from ..sessions.session import Session
from ..store.store import Store
from ..sweeps.cell import SweepCell

if TYPE_CHECKING:
    from ..engine.progress import Progress

Fingerprints = Callable[[Recipe], Mapping[str, str]]
"""Returns, before a complete recipe runs, the fingerprint that its result will have."""


@dataclass(frozen=True, eq=False)
class FailedCell:
    """A cell that could not be run.

    Parameters
    ----------
    recipe
        Complete.
    error
        Why; it holds no tensors.
    """

    recipe: Recipe
    error: NbdiffuseError

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """No pictures."""
        return ()

    @property
    def image(self) -> Image.Image:
        """Raise the cell's error: there is no picture."""
        raise self.error

    def __repr__(self) -> str:
        return f"failed: {type(self.error).__name__}: {self.error}"


class Outcomes:
    """The result of each cell, from memory, the store or a runner; grids of one sweep share it.

    Parameters
    ----------
    session
        Its history tells how fast runs are here.
    store
        Where finished images are looked for and kept, or None.
    fingerprints
        See `Fingerprints`; asked of the runner when not given.
    runner
        Runs the recipes; the session when not given.
    """

    def __init__(
        self,
        session: Session,
        store: Store | None,
        fingerprints: Fingerprints | None = None,
        runner: Runner | None = None,
    ) -> None:
        self.session = session
        self.store = store
        self.runner: Runner = runner or SessionRunner(session)
        self.outcomes: dict[str, Result | FailedCell] = {}
        self.sources: dict[str, str] = {}
        self.notices: list[str] = []
        self.running: dict[str, Progress | None] = {}
        self._fingerprints = fingerprints or self.runner.fingerprint

    def look_again(self) -> None:
        """Take the files that checkpoints stand for now; what is settled until the next call is of the same files."""
        self.runner.look_again()

    def settle(self, groups: Sequence[Sequence[SweepCell]], while_waiting: Callable[[], None]) -> None:
        """Find or run cells, in groups that are the same image; what fails is held as `Failed`.

        Parameters
        ----------
        groups
            The first one's recipe of each group is run; each one's is looked for in the store.
        while_waiting
            Called on this thread about every 50 ms.

        Raises
        ------
        Interrupted
            It was stopped; what was finished before is held.
        """
        stopped = False
        try:
            missing = [group[0] for group in groups if not self._found(group)]
            if missing:
                self._run(missing, while_waiting)
        except (Interrupted, KeyboardInterrupt):
            stopped = True
        finally:
            self.running = {}
        if stopped:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            raise Interrupted("Stopped.")

    def _run(self, cells: Sequence[SweepCell], while_waiting: Callable[[], None]) -> None:
        keys = [cell.picture_key for cell in cells]

        def take_note(index: int, progress: Progress | None) -> None:
            before = self.running.get(keys[index])
            if progress is not None and progress.preview is None and before is not None:
                # A preview comes now and then; in between the last one is shown.
                progress = dataclasses.replace(progress, preview=before.preview)
            self.running = {**self.running, keys[index]: progress}

        def take_over(index: int, outcome: Result | NbdiffuseError) -> None:
            self.running = {key: progress for key, progress in self.running.items() if key != keys[index]}
            if isinstance(outcome, Result) and outcome.problem is not None:
                outcome = outcome.problem
            if isinstance(outcome, NbdiffuseError):
                self._hold(keys[index], FailedCell(cells[index].recipe, outcome.with_traceback(None)), "failed")
            else:
                self._hold(keys[index], outcome, "run")
                self._keep(outcome)

        self.runner.run([cell.recipe for cell in cells], take_note, take_over, while_waiting)

    def _hold(self, key: str, outcome: Result | FailedCell, source: str) -> None:
        self.outcomes[key], self.sources[key] = outcome, source

    def _found(self, cells: Sequence[SweepCell]) -> bool:
        """Look for an image in the store; a worker that cannot be asked fails the cells."""
        key = cells[0].picture_key
        try:
            kept = self._stored(cells)
        except Interrupted:
            raise
        except NbdiffuseError as error:
            self._hold(key, FailedCell(cells[0].recipe, error.with_traceback(None)), "failed")
            return True
        if kept is not None:
            self._hold(key, kept, "store")
        return kept is not None

    def _stored(self, cells: Sequence[SweepCell]) -> Result | None:
        if self.store is None:
            return None
        for recipe in (cell.recipe for cell in cells):
            fingerprint = self._fingerprints(recipe)
            kept = self.store.get(recipe, fingerprint)
            if kept:
                return Result(
                    recipe=recipe,
                    images=(kept.image,),
                    initial=fitted_pictures(recipe).get("image"),
                    seconds=kept.seconds,
                    fingerprint=kept.fingerprint,
                    notices=(*before_run(recipe), *kept.notices),
                )
        return None

    def _keep(self, result: Result) -> None:
        if self.store is None or len(result.images) != 1:
            return
        try:
            self.store.put(result.image, result.provenance, result.seconds, result.run_notices)
        except FileError as error:
            # The image is there all the same; one line is enough for all cells.
            if str(error) not in self.notices:
                self.notices.append(str(error))

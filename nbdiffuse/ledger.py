"""What came of each distinct cell of a sweep: remembered, found in the store, or run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from .errors import FileError, Interrupted, NbdiffuseError
from .fitting import fit
from .metadata import Provenance
from .recipe import Recipe
from .results import Result
from .session import Session, wait
from .store import Store
from .sweep import SweepCell

if TYPE_CHECKING:
    from .engine import Progress
    from .worker import Job

Fingerprints = Callable[[Recipe], Mapping[str, str]]
"""Returns, before a complete recipe runs, the fingerprint that its result will have."""


@dataclass(frozen=True, eq=False)
class Failed:
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


class Ledger:
    """Settle cells through a session and a store; grids of one sweep share it.

    Parameters
    ----------
    session
        Runs the recipes.
    store
        Where finished images are looked for and kept, or None.
    fingerprints
        See `Fingerprints`; asked of the session when not given.
    """

    def __init__(self, session: Session, store: Store | None, fingerprints: Fingerprints | None = None) -> None:
        self.session = session
        self.store = store
        self.outcomes: dict[str, Result | Failed] = {}
        self.sources: dict[str, str] = {}
        self.notices: list[str] = []
        self.running: tuple[str, Progress | None] | None = None
        self._fingerprints = fingerprints or session.fingerprint

    def settle(self, cells: Sequence[SweepCell], while_waiting: Callable[[], None]) -> None:
        """Find or run cells that are the same image; what fails is held as `Failed`.

        Parameters
        ----------
        cells
            The first one's recipe is run; each one's is looked for in the store.
        while_waiting
            Called on this thread about every 50 ms.

        Raises
        ------
        Interrupted
            The run was stopped; nothing is held for these cells.
        """
        key = cells[0].picture_key
        stopped = False
        outcome: Result | Failed | None = None
        try:
            outcome = self._stored(cells)
            source = "store"
            if outcome is None:
                self.running = key, None
                outcome, source = self._run(cells[0].recipe, while_waiting), "run"
        except (Interrupted, KeyboardInterrupt):
            stopped = True
        except NbdiffuseError as error:
            outcome, source = Failed(cells[0].recipe, error.with_traceback(None)), "failed"
        finally:
            self.running = None
        if stopped or outcome is None:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            raise Interrupted("Stopped.")
        self.outcomes[key], self.sources[key] = outcome, source
        if source == "run" and isinstance(outcome, Result):
            self._keep(outcome)

    def _run(self, recipe: Recipe, while_waiting: Callable[[], None]) -> Result:
        def take_note(progress: Progress) -> None:
            if self.running:
                self.running = self.running[0], progress

        job: Job[Result] | None = None
        try:
            job = self.session.submit(recipe, take_note)
            return wait(job, while_waiting)
        except KeyboardInterrupt:
            if job is not None:
                job.stop()
            raise

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
                    initial=_initial(recipe),
                    seconds=kept.seconds,
                    fingerprint=fingerprint,
                    notices=kept.notices,
                )
        return None

    def _keep(self, result: Result) -> None:
        if self.store is None or len(result.images) != 1:
            return
        parents = (result.recipe.image.address,) if result.recipe.image else ()
        provenance = Provenance(result.recipe, result.fingerprint, parents, version=result.version)
        try:
            self.store.put(result.image, provenance, result.seconds, result.notices)
        except FileError as error:
            # The image is there all the same; one line is enough for all cells.
            if str(error) not in self.notices:
                self.notices.append(str(error))


def _initial(recipe: Recipe) -> Image.Image | None:
    if recipe.image is None or recipe.width is None or recipe.height is None:
        return None
    return fit(recipe.image.image, (recipe.width, recipe.height), recipe.resize_mode or "fit")

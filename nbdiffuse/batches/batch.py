"""Batch: any number of pictures redrawn into a folder, a few at a time, going on where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ..errors import FileError, ImageInputError, Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.paths import path_of
from ..images.contact_sheets import noted
from ..images.metrics import metric_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.sizes import fitted_pictures
from ..recipes.steps import real_steps
from ..results import Result
from ..runs.notices import counted
from ..sessions.runners import ExecutorRunner, Runner, SessionRunner
from ..sessions.session import Session, get_session
from ..sweeps.plan import count_text
from . import manifest
from .measured_batch import MeasuredBatch
from .outcome import Outcome, is_result_of, thumbnail
from .plan import Pace, plan_line
from .row_metrics import RowMetrics
from .rows import Row
from .sheet import bundle, save_page
from .sources import FileSource
from .windows import windows

ON_ERROR = ("continue", "stop")
TOGETHER, MOST_TOGETHER = 32, 1000
"""Rows that are read and run together, at most: usually, and ever."""


class Batch(MeasuredBatch):
    """Pictures and what came of them; nothing is run before `run`.

    Every result is in its file before the next pictures are read, so that memory does not grow
    with their number; a batch that was stopped, or whose process was killed, goes on where it was.

    Parameters
    ----------
    recipe
        What all rows have in common.
    rows
        See `rows.rows_of`.
    folder
        Where results go, with `index.html`.
    session
        Runs the recipes; this process's session when not given.
    executor
        A `concurrent.futures.Executor` that runs them instead, see `remote`.
    on_error
        "continue" with the other rows when one fails, or "stop".
    notices
        Lines that a person should read before it runs.
    together
        Rows that are read and share model calls, at most, in [1, 1000]; with 1 every pixel is that of a run by itself,
        else a few may differ by 1 of 255.
    noted
        What else it is made with, for its note in the folder: another batch does not go on there.
    measure
        Metrics of each result, see `measure`, as soon as it is there.

    Raises
    ------
    ParameterError, FileError
        The folder has something else, or a value breaks its rule.
    """

    def __init__(
        self,
        recipe: Recipe,
        rows: Sequence[Row],
        folder: Path,
        session: Session | None = None,
        executor: Executor | str | None = None,
        on_error: str = "continue",
        notices: Sequence[str] = (),
        together: int = TOGETHER,
        noted: Mapping[str, Any] | None = None,
        measure: Sequence[str] = (),
    ) -> None:
        if type(together) is not int or not 1 <= together <= MOST_TOGETHER:
            raise ParameterError(breaks_rule("together", f"a whole number in [1, {MOST_TOGETHER}]", together))
        if on_error not in ON_ERROR:
            raise ParameterError(breaks_rule("on_error", " or ".join(ON_ERROR), on_error))
        self.rows, self.folder, self.before_run = tuple(rows), folder, tuple(notices)
        self._noted = dict(noted or {})
        session = session or get_session()
        self.recipe = manifest.settled(recipe, folder, [row.file for row in rows], self._noted)
        self._metrics = RowMetrics(self.recipe, self.rows, folder, session)
        self._measures = self._metrics.check(measure, self._is_film)
        self.outcomes: dict[int, Outcome] = {}
        self.pace = Pace()
        self._on_error, self._together, self._session = on_error, together, session
        self._runner: Runner = SessionRunner(self._session) if executor is None else ExecutorRunner(executor)
        self._halted: NbdiffuseError | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def missing(self) -> int:
        """Count of rows without a result, failed ones included."""
        return len(self.rows) - sum(outcome.state != "failed" for outcome in self.outcomes.values())

    @property
    def failed(self) -> dict[str, NbdiffuseError]:
        """Why rows failed, by their names."""
        found = {self.rows[place].name: outcome.error for place, outcome in sorted(self.outcomes.items())}
        return {name: error for name, error in found.items() if error is not None}

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines that a person should read, once each: of the pictures, how many rows failed for what, and what was measured."""
        told = counted([outcome.notices for outcome in self.outcomes.values()], "images")
        failures = Counter(str(error) for error in self.failed.values())
        failed = (f"{count} of {len(self)} failed: {line}" for line, count in failures.items())
        return (*self.before_run, *told, *failed, *self._metrics.lines())

    def plan_line(self) -> str:
        """Say in one line what will run, see `plan.plan_line`."""
        return plan_line(self.recipe, self.rows, self.folder, self._session)

    def run(self, while_waiting: Callable[[], None] | None = None) -> Batch:
        """Run what is missing, failed rows too, and return this batch.

        Parameters
        ----------
        while_waiting
            Called on this thread about every 50 ms and after each result.

        Raises
        ------
        Interrupted
            Finished results stay; run it again for the rest.
        FileError
            A result cannot be written, as on a full disk; those before it stay.
        NbdiffuseError
            A row failed, and `on_error` is "stop".
        """
        self._halted, self.pace, meanwhile = None, Pace(), while_waiting or (lambda: None)
        manifest.write(self.recipe, self.folder, self._noted)
        self._runner.look_again()
        stopped = False
        try:
            # No result is held after it is written: a session's history would.
            with self._session.unrecorded():
                done = {place for place, outcome in self.outcomes.items() if outcome.state != "failed"}
                missing = [place for place in range(len(self.rows)) if place not in done]
                for places in self.windows(missing):
                    self._settle(places, meanwhile)
                    self._metrics.measure(self._measures, set(places) & set(self._there()))
                    meanwhile()
                    if self._halted is not None:
                        break
                # What a stop left unmeasured.
                self._measure(self._measures)
        except (Interrupted, KeyboardInterrupt):
            stopped = True
        finally:
            self._save_page()
        if stopped:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            raise Interrupted(f"Stopped with {len(self) - self.missing} of {len(self)} finished. Run it again for the rest.")
        if self._halted is not None:
            raise self._halted
        return self

    def windows(self, missing: Sequence[int]) -> Iterable[list[int]]:
        """Return the places of rows that are read and run together, see `windows.windows`."""
        return windows(self.rows, missing, self._together)

    def _settle(self, places: Sequence[int], while_waiting: Callable[[], None]) -> None:
        """Find or run some rows."""
        ready: list[tuple[int, Recipe]] = []
        for place in places:
            while_waiting()
            try:
                complete = resolve(self.rows[place].recipe(self.recipe))
                if self._found(place, complete):
                    continue
            except (Interrupted, KeyboardInterrupt):
                raise
            except NbdiffuseError as error:
                self._fail(place, error)
                if self._halted is not None:
                    return
                continue
            ready.append((place, complete))

        def meanwhile() -> None:
            while_waiting()
            if self._halted is not None:
                raise self._halted

        def take(index: int, outcome: Result | NbdiffuseError) -> None:
            self._take(ready[index][0], outcome)

        self._runner.run([complete for _, complete in ready], lambda index, progress: None, take, meanwhile)

    def _found(self, place: int, complete: Recipe) -> bool:
        file = self.folder / self.rows[place].file
        if not file.exists() or not is_result_of(file, complete, self._runner.fingerprint(complete)):
            return False
        before, size = thumbnail(fitted_pictures(complete).get("image")), FileSource(file, file.name).size
        self.outcomes[place] = Outcome("kept", None, size, real_steps(complete), before=before, prompt=complete.prompt)
        return True

    def _take(self, place: int, outcome: Result | NbdiffuseError) -> None:
        if outcome is self._halted:
            return  # it was not run
        if isinstance(outcome, Result) and outcome.problem is not None:
            outcome = outcome.problem
        if isinstance(outcome, NbdiffuseError):
            self._fail(place, outcome)
            return
        try:
            outcome.save(self.folder / self.rows[place].file)
        except FileError as error:
            # A full disk, say: what follows could not be written either.
            self._halted = error
            return
        made = Outcome(
            "made",
            outcome.seconds,
            outcome.image.size,
            real_steps(outcome.recipe),
            None,
            outcome.notices,
            thumbnail(outcome.initial),
            outcome.recipe.prompt,
        )
        self.outcomes[place] = made
        self.pace.note()

    def _fail(self, place: int, error: NbdiffuseError) -> None:
        kept = error.with_traceback(None)
        if isinstance(kept, ImageInputError) and self.rows[place].name not in str(kept):
            kept = ImageInputError(f"{self.rows[place].name}: {kept}")
        self.outcomes[place] = Outcome("failed", error=kept)
        if self._on_error == "stop":
            self._halted = kept

    def again(self, names: Sequence[str], folder: str | Path, **changes: Any) -> Batch:
        """Return a batch of some of the rows with other values, such as those that were starred on the page.

        Parameters
        ----------
        names
            Of rows.
        folder
            Where the new results go.
        **changes
            Fields of the recipe.

        Raises
        ------
        ParameterError
            There is no such row, or a value breaks its rule.
        """
        known = {row.name: row for row in self.rows}
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None or not names:
            raise ParameterError(breaks_rule("names", "names of the batch's rows", unknown or list(names), "See `records()`."))
        recipe, target, rows = self.recipe.replace(**changes), path_of(folder, "folder"), [known[name] for name in names]
        how: dict[str, Any] = {"on_error": self._on_error, "together": self._together}
        how["measure"] = [name for name in self._measures if not metric_of(name).needs_film]
        return Batch(recipe, rows, target, self._session, **how)

    def _save_page(self) -> None:
        title = f"{self.recipe.prompt}: {count_text(len(self), 'picture')}"
        try:
            save_page(self.rows, self.outcomes, self.folder, self.notices, title, self._metrics.values)
        except FileError as error:
            self._halted = self._halted or error

    def __repr__(self) -> str:
        return f"batch: {count_text(len(self), 'result')}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        return bundle(self.rows, self.outcomes, self.folder, repr(self))

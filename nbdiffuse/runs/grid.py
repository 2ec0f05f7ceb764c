"""Grids: a sweep and what came of its cells."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ..errors import Interrupted
from ..files.targets import made_folder
from ..images.contact_sheets import noted
from ..recipes.notices import before_run
from ..results import Result
from ..sessions.runners import ExecutorRunner
from ..sessions.session import Session, get_session
from ..store.store import Store
from ..sweeps.cell import SweepCell
from ..sweeps.difference import difference
from ..sweeps.sweep import Sweep
from .consistency import changed_files
from .grid_display import passing_sheet, save, sheet
from .grid_metrics import GridMetrics
from .measured_grid import MeasuredGrid
from .notices import counted
from .outcomes import FailedCell, Fingerprints, Outcomes


class Grid(MeasuredGrid):
    """A sweep whose cells are run when they are asked for, each distinct one once.

    Iterating runs a few cells ahead and yields them in order; `run` runs them all;
    indexing runs one. Cells that are run together share model calls. What is finished
    stays: an interrupted grid goes on where it stopped.

    Parameters
    ----------
    sweep
        What to run.
    session
        Runs the recipes; this process's session when not given.
    store
        Where finished images are looked for and kept; None keeps them in memory only.
    fingerprints
        Returns the fingerprint that a complete recipe's result will have; asked of
        the session or the executor when not given.
    executor
        A `concurrent.futures.Executor` that runs the cells, a task each, instead of the
        session, or a word, see `named_executors`; see `remote`.

    Raises
    ------
    ParameterError
        `executor` is none.
    """

    def __init__(
        self,
        sweep: Sweep,
        session: Session | None = None,
        store: Store | None = None,
        fingerprints: Fingerprints | None = None,
        executor: Executor | str | None = None,
    ) -> None:
        self.sweep = sweep
        runner = None if executor is None else ExecutorRunner(executor)
        self._outcomes = Outcomes(session or get_session(), store, fingerprints, runner)
        self._measures = GridMetrics(self._outcomes)
        self._unfinished: str | None = None

    def _sharing(self, sweep: Sweep) -> Grid:
        grid = Grid.__new__(Grid)
        grid.sweep, grid._outcomes, grid._measures, grid._unfinished = sweep, self._outcomes, self._measures, None
        return grid

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines that a person should read, once each: of pictures, prompts and runs, of the store, and why cells failed."""
        outcomes = [self._outcome(group[0]) for group in self.sweep.distinct()]
        made = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        lines = Counter(str(outcome.error) for outcome in outcomes if isinstance(outcome, FailedCell))
        failures = [f"{count} of {len(outcomes)} distinct images failed: {line}" for line, count in lines.items()]
        told = counted([outcome.notices for outcome in made], "images")
        return (*told, *self._outcomes.notices, *changed_files(made), *failures)

    @property
    def before_run(self) -> tuple[str, ...]:
        """Those of the notices that are known before anything runs."""
        return counted([before_run(group[0].recipe) for group in self.sweep.distinct()], "images")

    @property
    def missing(self) -> int:
        """Count of distinct images that are not there, failed ones included."""
        return sum(not isinstance(self._outcome(group[0]), Result) for group in self.sweep.distinct())

    @property
    def finished(self) -> tuple[Result, ...]:
        """The results that are there, in the order of the cells; nothing runs."""
        owned = [self._own(cell) for cell in self.sweep.cells() if self._outcome(cell) is not None]
        return tuple(outcome for outcome in owned if isinstance(outcome, Result))

    def run(self, while_waiting: Callable[[], None] | None = None) -> Grid:
        """Run what is missing, failed cells too, and return this grid.

        Parameters
        ----------
        while_waiting
            Called on this thread about every 50 ms and after each image.

        Raises
        ------
        Interrupted
            Finished cells stay; run it again for the rest.
        """
        for _ in self._work(while_waiting or (lambda: None), len(self.sweep.distinct())):
            pass
        return self

    def _work(self, while_waiting: Callable[[], None], together: int) -> Iterator[Sequence[tuple[SweepCell, ...]]]:
        """Settle the distinct images, so many at a time, and yield the groups of cells that have been tried."""
        store = self._outcomes.store
        self._outcomes.look_again()
        if store is not None and self._unfinished:
            store.remember(self._unfinished, str(self.sweep.base.seed))
        groups = self.sweep.distinct()
        for start in range(0, len(groups), together):
            part = groups[start : start + together]
            self._settle([group for group in part if not isinstance(self._outcome(group[0]), Result)], while_waiting)
            yield part
        if store is not None and self._unfinished:
            store.forget(self._unfinished)

    def _settle(self, groups: Sequence[tuple[SweepCell, ...]], while_waiting: Callable[[], None]) -> None:
        try:
            self._outcomes.settle(groups, while_waiting)
            while_waiting()
            return
        except (Interrupted, KeyboardInterrupt):
            if all(self._outcome(group[0]) is not None for group in groups):
                return
            count = len(self.sweep.distinct())
            line = f"Stopped with {count - self.missing} of {count} distinct images finished. Run it again for the rest."
        raise Interrupted(line)

    def __iter__(self) -> Iterator[Result | FailedCell]:
        waiting = iter(self.sweep.cells())
        cell = next(waiting, None)
        tried: set[str] = set()
        for part in self._work(lambda: None, self._outcomes.runner.ahead):
            tried |= {group[0].picture_key for group in part}
            # In the order of the sweep, whatever order the work has.
            while cell is not None and cell.picture_key in tried:
                yield self._own(cell)
                cell = next(waiting, None)

    def __len__(self) -> int:
        return len(self.sweep.cells())

    def __getitem__(self, index: int) -> Result | FailedCell:
        cell = self.sweep.cells()[index]
        if self._outcome(cell) is None:
            self._outcomes.look_again()
            self._settle([self.sweep.group_of(cell)], lambda: None)
        return self._own(cell)

    def _outcome(self, cell: SweepCell) -> Result | FailedCell | None:
        return self._outcomes.outcomes.get(cell.picture_key)

    def _own(self, cell: SweepCell) -> Result | FailedCell:
        """Return a cell's outcome under its own recipe, which makes the same image."""
        outcome = self._outcomes.outcomes[cell.picture_key]
        # What only the checkpoint's files say was filled in when it ran.
        recipe = cell.recipe if cell.recipe.scheduler else cell.recipe.replace(scheduler=outcome.recipe.scheduler)
        if isinstance(outcome, FailedCell):
            return dataclasses.replace(outcome, recipe=recipe)
        return outcome if outcome.recipe == recipe else outcome.under(recipe)

    def sel(self, **coordinates: Any) -> Grid:
        """Return the part of the grid at some values, see `Sweep.sel`; nothing runs again."""
        return self._sharing(self.sweep.sel(**coordinates))

    def extend(self, **axes: Any) -> Grid:
        """Return the grid with more values on its axes, see `Sweep.extend`; only new cells run."""
        return self._sharing(self.sweep.extend(**axes))

    def pivot(self, *names: str) -> Grid:
        """Return the grid with other rows and columns, see `Sweep.pivot`; nothing runs again."""
        return self._sharing(self.sweep.pivot(*names))

    def diff(self, a: int | Mapping[str, Any], b: int | Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return the parameters in which two cells differ, each given by its index or its coordinates; see `difference`."""
        return difference(self.sweep, a, b)

    def plan_line(self) -> str:
        """Say in one line what the sweep holds, with the time from what this session measured; see `Sweep.plan_line`."""
        models = {cell.recipe.model for cell in self.sweep.cells()}
        return self.sweep.plan_line(self._outcomes.session.seconds_per_step(models))

    def plan_details(self) -> str:
        """Say what the plan counts, see `Sweep.plan_details`."""
        return self.sweep.plan_details()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the finished pictures in full size and a page that works without a kernel.

        Parameters
        ----------
        folder
            Made if it is not there; files of an earlier save are replaced.

        Returns
        -------
        Path
            The page, `index.html`; each picture is a PNG with its recipe inside.

        Raises
        ------
        FileError
            A file cannot be written.
        """
        return save(repr(self), self.sweep, self._outcomes, made_folder(folder), self.notices)

    def __repr__(self) -> str:
        # No model, time or size: notebooks then compare equal on every checkpoint.
        return "sweep: " + (" x ".join(axis.name for axis in self.sweep.axes) or "one cell")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        return {"image/png": sheet(self.sweep, self._outcomes), "text/plain": repr(self)}

    def passing_bundle(self) -> dict[str, Any]:
        """Return what a notebook shows while it runs, with its plan above it."""
        return {"image/png": passing_sheet(self.sweep, self._outcomes, self.plan_line()), "text/plain": repr(self)}

"""Grids: a sweep and what came of its cells."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from .exhibits import save, sheet
from .ledger import Failed, Fingerprints, Ledger
from .presets import real_steps
from .recipe import PARAMS, Recipe
from .results import Result
from .session import Session, get_session
from .store import Store
from .sweep import Sweep, SweepCell


class Grid:
    """A sweep whose cells are run when they are asked for, each distinct one once.

    Iterating runs and yields the cells in order; `run` runs them all; indexing runs
    one. What is finished stays: an interrupted grid goes on where it stopped.

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
        the session when not given.
    """

    def __init__(
        self,
        sweep: Sweep,
        session: Session | None = None,
        store: Store | None = None,
        fingerprints: Fingerprints | None = None,
    ) -> None:
        self.sweep = sweep
        self._ledger = Ledger(session or get_session(), store, fingerprints)
        self._unfinished: str | None = None

    def _sharing(self, sweep: Sweep) -> Grid:
        grid = Grid.__new__(Grid)
        grid.sweep, grid._ledger, grid._unfinished = sweep, self._ledger, None
        return grid

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines that a person should read, such as that the store cannot be written."""
        return tuple(self._ledger.notices)

    @property
    def missing(self) -> int:
        """Count of distinct images that are not there, failed ones included."""
        return sum(not isinstance(self._outcome(group[0]), Result) for group in self.sweep.distinct())

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
        for _ in self._work(while_waiting or _nothing):
            pass
        return self

    def _work(self, while_waiting: Callable[[], None]) -> Iterator[None]:
        store = self._ledger.store
        if store is not None and self._unfinished:
            store.remember(self._unfinished, str(self.sweep.base.seed))
        for group in self.sweep.distinct():
            if not isinstance(self._outcome(group[0]), Result):
                self._settle(group, while_waiting)
            yield
        if store is not None and self._unfinished:
            store.forget(self._unfinished)

    def _settle(self, group: tuple[SweepCell, ...], while_waiting: Callable[[], None]) -> None:
        try:
            self._ledger.settle(group, while_waiting)
            while_waiting()
            return
        except (Interrupted, KeyboardInterrupt):
            count = len(self.sweep.distinct())
            line = f"Stopped with {count - self.missing} of {count} distinct images finished. Run it again for the rest."
        raise Interrupted(line)

    def __iter__(self) -> Iterator[Result | Failed]:
        waiting = iter(self.sweep.cells())
        cell = next(waiting, None)
        tried: set[str] = set()
        groups = self.sweep.distinct()
        for group, _ in zip(groups, self._work(_nothing), strict=True):
            tried.add(group[0].picture_key)
            # In the order of the sweep, whatever order the work has.
            while cell is not None and cell.picture_key in tried:
                yield self._own(cell)
                cell = next(waiting, None)

    def __len__(self) -> int:
        return len(self.sweep.cells())

    def __getitem__(self, index: int) -> Result | Failed:
        cell = self.sweep.cells()[index]
        if self._outcome(cell) is None:
            self._settle(self.sweep.group_of(cell), _nothing)
        return self._own(cell)

    def _outcome(self, cell: SweepCell) -> Result | Failed | None:
        return self._ledger.outcomes.get(cell.picture_key)

    def _own(self, cell: SweepCell) -> Result | Failed:
        """Return a cell's outcome under its own recipe, which makes the same image."""
        outcome = self._ledger.outcomes[cell.picture_key]
        return outcome if outcome.recipe == cell.recipe else dataclasses.replace(outcome, recipe=cell.recipe)

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
        """Return the parameters in which two cells differ.

        Parameters
        ----------
        a, b
            Index of a cell, or its coordinates by axis.

        Returns
        -------
        dict
            (value in a, value in b) by field.
        """
        one, other = (self._cell(each).recipe for each in (a, b))
        pairs = {name: (getattr(one, name), getattr(other, name)) for name in PARAMS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def _cell(self, where: int | Mapping[str, Any]) -> SweepCell:
        if isinstance(where, int):
            return self.sweep.cells()[where]
        part = self.sweep.sel(**where)
        if part.axes:
            missing = ", ".join(axis.name for axis in part.axes)
            raise ParameterError(breaks_rule("cell", "one cell", dict(where), f"Give a value for {missing} too."))
        return part.cells()[0]

    def plan_line(self) -> str:
        """Say in one line what the sweep holds, with the time from what this session measured; see `Sweep.plan_line`."""
        models = {cell.recipe.model for cell in self.sweep.cells()}
        past = [result for result in self._ledger.session.history if result.recipe.model in models][-9:]
        # The first run of a session is slower than what follows.
        pace = statistics.median(result.seconds / max(1, real_steps(result.recipe)) for result in past) if past else None
        return self.sweep.plan_line(pace)

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each cell: its coordinates, steps, seconds, where its image comes from, and its error."""
        return [self._record(cell) for cell in self.sweep.cells()]

    def _record(self, cell: SweepCell) -> dict[str, Any]:
        outcome, first = self._outcome(cell), self.sweep.group_of(cell)[0]
        source = self._ledger.sources.get(cell.picture_key, "missing")
        return {
            **dict(cell.coordinates),
            "steps": real_steps(cell.recipe),
            "seconds": outcome.seconds if isinstance(outcome, Result) else None,
            "source": source if cell is first else f"equal to {first.index}",
            "error": str(outcome.error) if isinstance(outcome, Failed) else None,
        }

    def to_frame(self) -> Any:
        """Return `records` as a `pandas.DataFrame`.

        Raises
        ------
        NbdiffuseError
            pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise NbdiffuseError("`to_frame` needs pandas, which is not installed. Install it, or use records().") from None
        return pandas.DataFrame(self.records())

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
        return save(repr(self), self.sweep, self._ledger, Path(folder).expanduser())

    def __repr__(self) -> str:
        # No model, time or size: notebooks then compare equal on every checkpoint.
        return "sweep: " + (" x ".join(axis.name for axis in self.sweep.axes) or "one cell")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/png": sheet(self.sweep, self._ledger), "text/plain": repr(self)}


def _nothing() -> None:
    return None


def sweep(recipe: Recipe, store: Store | None = None, /, **axes: Any) -> Grid:
    """Vary a recipe along axes in this process's session; nothing runs before it is asked for.

    Parameters
    ----------
    recipe
        The base. An open seed is drawn once for all cells; after an interrupt the
        same call draws the same one, so that it goes on where it stopped.
    store
        Where finished images are looked for and kept; `Store()` when not given.
    **axes
        For each field an iterable of values, or their text such as "0.2:1:0.2".

    Returns
    -------
    Grid
        Iterate over it, or call `run`.

    Raises
    ------
    ParameterError, ImageInputError
        An axis or a cell breaks a rule.
    """
    kept = store or Store()
    value = Sweep.of(recipe, **axes)
    if recipe.seed is not None or "seed" in axes:
        return Grid(value, store=kept)
    open_text = json.dumps({**json.loads(value.to_json()), "base": recipe.to_dict()}, sort_keys=True)
    name = hashlib.sha256(open_text.encode()).hexdigest()
    drawn = kept.recall(name) or ""
    if drawn.isdecimal() and int(drawn) < 2**32:
        value = Sweep(value.base.replace(seed=int(drawn)), value.axes)
    grid = Grid(value, store=kept)
    grid._unfinished = name
    return grid

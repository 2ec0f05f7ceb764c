"""Grids of chains: every cell runs a whole chain, and what cells have in common runs once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import FileError, Interrupted, NbdiffuseError, ParameterError, again, breaks_rule
from ..files.atomic import write_atomic
from ..files.paths import without_folders
from ..files.targets import made_folder
from ..images.contact_sheets import noted
from ..images.gallery import page
from ..images.sheets import SheetCell, Table, passing_sheet_png, sheet_png
from ..recipes.chain import Chain
from ..recipes.portable import portable
from ..sessions.session import Session, get_session
from ..store.store import Store
from ..sweeps.chain_sweep import ChainPlace, ChainSweep
from ..sweeps.tables import coordinates_text, tables_of
from .chain_run import ChainRun
from .chain_step import advance
from .consistency import changed_files
from .notices import counted


class ChainGrid:
    """A sweep of a chain whose cells are run when they are asked for; shows the last picture of each.

    The same step of all chains runs together, so that cells share model calls as those
    of a sweep do. What is finished stays: an interrupted grid goes on where it stopped. A chain that
    fails says so in its place, and the others run.

    Parameters
    ----------
    sweep
        What to run.
    session
        Runs the steps; this process's session when not given.
    store
        Where finished pictures are looked for and kept; None keeps them in memory only.
    """

    def __init__(self, sweep: ChainSweep, session: Session | None = None, store: Store | None = None) -> None:
        self.sweep = sweep
        self._session = session or get_session()
        self._runs = [ChainRun(cell.chain, self._session, store) for cell in sweep.cells()]
        self._failed: dict[int, NbdiffuseError] = {}

    @property
    def missing(self) -> int:
        """Count of chains that are not whole, failed ones included."""
        return sum(not _whole(run) for run in self._runs)

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines that a person should read, once each."""
        told = counted([run.notices for run in self._runs if len(run)], "chains")
        changed = changed_files([result for run in self._runs for result in run])
        return (*told, *changed, *dict.fromkeys(map(str, self._failed.values())))

    @property
    def before_run(self) -> tuple[str, ...]:
        """Those of the notices that are known before anything runs."""
        return counted([run.before_run for run in self._runs], "chains")

    def run(self, while_waiting: Callable[[], None] = lambda: None) -> ChainGrid:
        """Run what is missing, failed chains too, and return this grid.

        Parameters
        ----------
        while_waiting
            Called on this thread about every 50 ms.

        Raises
        ------
        Interrupted
            Finished steps stay; run it again for the rest.
        """
        self._settle(range(len(self)), while_waiting)
        return self

    def _settle(self, indices: Sequence[int], while_waiting: Callable[[], None] = lambda: None) -> None:
        """Run the chains that are not whole, one step of all of them after the other."""
        for index in indices:
            self._failed.pop(index, None)
        stopped = False
        try:
            while left := [index for index in indices if index not in self._failed and not _whole(self._runs[index])]:
                errors = advance([self._runs[index] for index in left], while_waiting)
                self._failed |= {left[place]: error for place, error in errors.items()}
                while_waiting()
        except (Interrupted, KeyboardInterrupt):
            stopped = True
        if stopped:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            done = len(self) - self.missing
            raise Interrupted(f"Stopped with {done} of {len(self)} chains finished. Run it again for the rest.")

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> ChainRun:
        """Return a cell's run, and run it if it is not whole; a failed one raises its error."""
        if not _whole(self._runs[index]):
            self._settle([index % len(self)])
        if index % len(self) in self._failed:
            raise again(self._failed[index % len(self)])
        return self._runs[index]

    def __iter__(self) -> Iterator[ChainRun]:
        return (self[index] for index in range(len(self)))

    def at(self, **coordinates: Any) -> ChainRun:
        """Return one cell's run.

        Parameters
        ----------
        **coordinates
            A value for each axis, given as `**{"2.strength": 0.4}`.

        Raises
        ------
        ParameterError
            There is no such cell.
        """
        for cell in self.sweep.cells():
            if dict(cell.coordinates) == coordinates:
                return self[cell.index]
        known = ", ".join(axis.name for axis in self.sweep.axes)
        raise ParameterError(breaks_rule("cell", f"one value of each of {known}", coordinates))

    def plan_line(self) -> str:
        """Say in one line what will run, with the time from what this session measured; see `ChainSweep.plan_line`."""
        models = {step.model for cell in self.sweep.cells() for step in cell.chain}
        return self.sweep.plan_line(self._session.seconds_per_step(models))

    def plan_details(self) -> str:
        """Say what the plan counts, see `ChainSweep.plan_details`."""
        return self.sweep.plan_details()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the last picture of each finished chain, with the whole chain inside, and a page that works without a kernel.

        Raises
        ------
        FileError
            A file cannot be written.
        """
        target = made_folder(folder)
        try:
            for index, run in enumerate(self._runs):
                if _whole(run):
                    run.results[-1].save(target / _file(index))
            notices = [without_folders(line) for line in self.notices]
            content = page(repr(self), self._tables(shared=True), self._initial(), notices).encode("utf-8", "replace")
            write_atomic(target / "index.html", content)
        except OSError as error:
            raise FileError(f"{target} cannot be written: {error.strerror or error}.") from None
        return target / "index.html"

    def _tables(self, shared: bool = False) -> list[Table]:
        return tables_of(self.sweep, lambda cell: self._spot(cell, shared))

    def _spot(self, cell: ChainPlace, shared: bool) -> SheetCell:
        run, label = self._runs[cell.index], coordinates_text(self.sweep, cell)
        details = json.dumps(Chain(tuple(map(portable, cell.chain))).to_dict(), indent=2, ensure_ascii=False)
        if _whole(run):
            return SheetCell(run.image, "", label, _file(cell.index), details)
        progress, failed = run.progress, self._failed.get(cell.index)
        line = without_folders(str(failed)) if shared else failed
        state = f"{type(failed).__name__}: {line}" if failed else f"{len(run)} of {len(cell.chain)} steps"
        return SheetCell(progress.preview if progress else None, state, label, None, details)

    def _initial(self) -> Any:
        picture = self.sweep.base[0].image
        varies = any(axis.name == "1.image" for axis in self.sweep.axes)
        return None if picture is None or varies else picture.image

    def __repr__(self) -> str:
        # No model, time or size: notebooks then compare equal on every checkpoint.
        return "sweep of a chain: " + " x ".join(axis.name for axis in self.sweep.axes)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        return {"image/png": sheet_png(self._tables(), self._initial()), "text/plain": repr(self)}

    def passing_bundle(self) -> dict[str, Any]:
        """Return what a notebook shows while it runs, with its plan above it."""
        content = passing_sheet_png(self._tables(), self._initial(), self.plan_line())
        return {"image/png": content, "text/plain": repr(self)}


def _whole(run: ChainRun) -> bool:
    return len(run) == len(run.chain)


def _file(index: int) -> str:
    return f"cell-{index:03d}.png"

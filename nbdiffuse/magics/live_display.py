"""Live display: one display in a cell that is updated while a run draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from IPython.display import display

from ..images.contact_sheets import COLUMNS, Cell, contact_sheet, png_bytes
from ..recipes.recipe import Recipe
from ..results import Result, given_cells, summary

if TYPE_CHECKING:
    from ..engine.progress import Progress
    from ..runs.chain_grid import ChainGrid
    from ..runs.grid import Grid

REFRESH = 0.5
"""Seconds between pictures of a run under way, at least."""
SHARE = 0.02
"""Largest share of a run's time that its pictures may take."""


class LiveDisplay:
    """One place of the notebook whose picture is replaced.

    Everything that changes stands in the picture; the text stays the same, so a
    stored notebook compares equal.

    Parameters
    ----------
    animated
        Whether the front end can replace a picture that it shows.
    interval
        Seconds between pictures, at least; `REFRESH` when not given.
    """

    def __init__(self, animated: bool, interval: float | None = None) -> None:
        self._animated = animated
        self._interval = REFRESH if interval is None else interval
        self.started = self._drawn = time.monotonic()
        self._spent = 0.0
        self._handle: Any = None

    def show(self, bundle: dict[str, Any]) -> None:
        """Show a picture now, in place of the one before."""
        if self._handle is not None:
            self._handle.update(bundle, raw=True)
        elif self._animated:
            self._handle = display(bundle, raw=True, display_id=True)
        self._drawn = time.monotonic()

    def refresh(self, draw: Callable[[], dict[str, Any]]) -> None:
        """Show another picture when it is time, and when drawing has not yet taken its share of the run."""
        begun = time.monotonic()
        if not self._animated or begun - self._drawn < self._interval or self._spent > SHARE * (begun - self.started):
            return
        self.show(draw())
        self._spent += time.monotonic() - begun

    def show_last(self, bundle: dict[str, Any]) -> None:
        """Show what stays; a front end that cannot replace pictures shows only this one."""
        if self._animated:
            self.show(bundle)
        else:
            display(bundle, raw=True)


class LiveRun:
    """Show one run while it goes on, then its result.

    Parameters
    ----------
    recipe
        Complete.
    animated
        Whether the front end can replace a picture that it shows.
    """

    def __init__(self, recipe: Recipe, animated: bool) -> None:
        self._recipe, self._given = recipe, given_cells(recipe)
        self._latest: Progress | None = None
        self._preview: Any = None
        self._display = LiveDisplay(animated)
        self._display.show(self._bundle("waiting", 0.0))

    def on_progress(self, progress: Progress) -> None:
        """Take note of a step; called on the worker."""
        self._latest = progress
        if progress.preview is not None:
            self._preview = progress.preview

    def refresh(self) -> None:
        """Draw the latest state when it is time; called on the cell's thread."""
        self._display.refresh(self._drawn)

    def finish(self, result: Result) -> None:
        """Replace the progress by the result."""
        self._display.show_last(result.bundle())

    def fail(self, label: str) -> None:
        """Say in the picture that there will be no result."""
        self._display.show(self._bundle(label, None))

    def _drawn(self) -> dict[str, Any]:
        progress = self._latest
        if progress is None:
            waited = time.monotonic() - self._display.started
            return self._bundle(f"loading {self._recipe.model}, {waited:.0f} s", 0.0)
        left = "" if progress.remaining is None else f"  {progress.remaining:.0f} s left"
        return self._bundle(f"step {progress.step} of {progress.steps}{left}", progress.step / progress.steps)

    def _bundle(self, label: str, done: float | None) -> dict[str, Any]:
        sheet = contact_sheet([*self._given, Cell(self._preview, label, done)])
        return {"image/png": png_bytes(sheet, passing=True), "text/plain": summary(self._recipe)}


class Steps(Protocol):
    """Runs that follow one another, such as a chain or a loopback."""

    @property
    def progress(self) -> Progress | None: ...
    @property
    def under_way(self) -> str: ...
    def cells(self) -> list[Cell]: ...
    def bundle(self) -> dict[str, Any]: ...


class LiveRuns:
    """Show the strip of runs that follow one another while it grows.

    Parameters
    ----------
    runs
        Not yet run.
    animated
        Whether the front end can replace a picture that it shows.
    """

    def __init__(self, runs: Steps, animated: bool) -> None:
        self._runs = runs
        self._display = LiveDisplay(animated)
        self._display.show(self._bundle())

    def refresh(self) -> None:
        """Draw the strip as it is when it is time."""
        self._display.refresh(self._bundle)

    def finish(self) -> None:
        """Show the strip as it stays, whole or not."""
        self._display.show_last(self._runs.bundle())

    def _bundle(self) -> dict[str, Any]:
        progress = self._runs.progress
        if progress is None:
            under_way = Cell(None, f"{self._runs.under_way}  waiting", 0.0)
        else:
            label = f"{self._runs.under_way}  step {progress.step} of {progress.steps}"
            under_way = Cell(progress.preview, label, progress.step / progress.steps)
        cells = [*self._runs.cells(), under_way]
        sheet = contact_sheet(cells, columns=min(len(cells), COLUMNS))
        return {"image/png": png_bytes(sheet, passing=True), "text/plain": repr(self._runs)}


class LiveGrid:
    """Show a grid while it fills in.

    Parameters
    ----------
    grid
        Not yet run.
    animated
        Whether the front end can replace a picture that it shows.
    """

    def __init__(self, grid: Grid | ChainGrid, animated: bool) -> None:
        self._grid = grid
        # A sheet of many pictures takes a while to draw.
        self._display = LiveDisplay(animated, 2 * REFRESH)
        self._display.show(grid.passing_bundle())

    def refresh(self) -> None:
        """Draw the grid as it is when it is time."""
        self._display.refresh(self._grid.passing_bundle)

    def finish(self) -> None:
        """Show the grid as it stays, whole or not."""
        self._display.show_last(self._grid.bundle())

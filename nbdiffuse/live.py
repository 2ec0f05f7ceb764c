"""A run as it is seen in a cell: one display that fills in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.display import display

from .grids import Cell, contact_sheet, png_bytes
from .recipe import Recipe
from .results import Result, initial_label, summary

if TYPE_CHECKING:
    from .engine import Progress

REFRESH = 0.5
"""Seconds between pictures of a run under way, at least."""


class LiveRun:
    """Show a run while it goes on, then its result, in one place of the notebook.

    Everything that changes stands in the picture; the text stays the same, so a
    stored notebook compares equal.

    Parameters
    ----------
    recipe
        Complete.
    animated
        Whether the front end can replace a picture that it shows.
    """

    def __init__(self, recipe: Recipe, animated: bool) -> None:
        self._recipe = recipe
        self._animated = animated
        self._latest: Progress | None = None
        self._preview: Any = None
        self._drawn = time.monotonic()
        self._started = time.monotonic()
        self._handle = display(self._bundle(self._sheet("waiting", 0.0)), raw=True, display_id=True) if animated else None

    def on_progress(self, progress: Progress) -> None:
        """Take note of a step; called on the worker."""
        self._latest = progress

    def refresh(self) -> None:
        """Draw the latest state, at most every `REFRESH` seconds; called on the cell's thread."""
        now = time.monotonic()
        if not self._animated or now - self._drawn < REFRESH:
            return
        self._drawn = now
        progress = self._latest
        if progress is None:
            self._update(self._sheet(f"loading {self._recipe.model}, {now - self._started:.0f} s", 0.0))
            return
        left = "" if progress.remaining is None else f"  {progress.remaining:.0f} s left"
        self._update(self._sheet(f"step {progress.step} of {progress.steps}{left}", progress.step / progress.steps))

    def finish(self, result: Result) -> None:
        """Replace the progress by the result."""
        bundle = result._repr_mimebundle_()
        if self._handle is not None:
            self._handle.update(bundle, raw=True)
        else:
            display(bundle, raw=True)

    def fail(self, label: str) -> None:
        """Say in the picture that there will be no result."""
        if self._handle is not None:
            self._update(self._sheet(label, None))

    def _sheet(self, label: str, done: float | None) -> bytes:
        recipe = self._recipe
        cells = [Cell(recipe.image.image, initial_label(recipe))] if recipe.image else []
        if self._latest is not None and self._latest.preview is not None:
            self._preview = self._latest.preview
        return png_bytes(contact_sheet([*cells, Cell(self._preview, label, done)]))

    def _bundle(self, png: bytes) -> dict[str, Any]:
        return {"image/png": png, "text/plain": summary(self._recipe)}

    def _update(self, png: bytes) -> None:
        if self._handle is not None:
            self._handle.update(self._bundle(png), raw=True)

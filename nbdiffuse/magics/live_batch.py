"""Live display of a batch: how many of its results are there, how fast they come, and how long the rest takes."""

from __future__ import annotations

import html
from typing import Any

from ..batches.batch import Batch
from .live_display import LiveDisplay


class LiveBatch:
    """Show a bar that fills while a batch runs, then its first pictures.

    Parameters
    ----------
    batch
        Not yet run.
    animated
        Whether the front end can replace what it shows.
    """

    def __init__(self, batch: Batch, animated: bool) -> None:
        self._batch = batch
        self._display = LiveDisplay(animated)
        self._display.show(self._bundle())

    def refresh(self) -> None:
        """Draw the bar as it is when it is time."""
        self._display.refresh(self._bundle)

    def finish(self) -> None:
        """Show what stays, whole or not."""
        self._display.show_last(self._batch.bundle())

    def _bundle(self) -> dict[str, Any]:
        batch = self._batch
        done = len(batch.outcomes)
        failed = f", {len(batch.failed)} failed" if batch.failed else ""
        pace = batch.pace.text(len(batch) - done)
        line = f"{done} of {len(batch)}{failed}" + (f", {pace}" if pace else "")
        bar = f'<progress max="{len(batch)}" value="{done}" aria-label="results"></progress>'
        # The text stays the same, so that a stored notebook compares equal.
        return {"text/html": f"<div>{bar} {html.escape(line)}</div>", "text/plain": repr(batch)}

"""Plan: what a batch will run, in one line before it runs, and how fast it goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import NbdiffuseError
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.steps import real_steps
from ..sessions.session import Session
from ..sweeps.plan import count_text, duration_text
from .rows import Row

SAMPLED = 20
"""Kinds of row that are completed for the plan, at most."""
PNG_BYTES = 1.6
"""Bytes that a PNG of a photograph takes for each pixel, about."""


def plan_line(recipe: Recipe, rows: Sequence[Row], folder: Path, session: Session) -> str:
    """Say in one line what will run: results, sizes, the time where runs were measured (else the steps), and what lands where.

    Parameters
    ----------
    recipe
        What all rows have in common.
    rows
        Of the batch.
    folder
        Where results go.
    session
        Its history tells how fast runs are here.
    """
    sizes = {row.source.size for row in rows if row.source is not None} - {None}
    parts = [count_text(len(rows), "picture") + (f" in {count_text(len(sizes), 'size')}" if len(sizes) > 1 else "")]
    sampled = _sampled(recipe, rows)
    if sampled:
        steps = round(statistics.mean(real_steps(one) for one in sampled) * len(rows))
        pace = session.seconds_per_step({one.model for one in sampled})
        parts.append(count_text(steps, "step") if pace is None else f"about {duration_text(steps * pace)}")
        pixels = statistics.mean((one.width or 0) * (one.height or 0) for one in sampled)
        written = f" (about {max(1, round(pixels * PNG_BYTES * len(rows) / 1e6))} MB)"
    return f"{', '.join(parts)}; results go to {folder.as_posix()}/{written if sampled else ''}"


def _sampled(recipe: Recipe, rows: Sequence[Row]) -> list[Recipe]:
    """Complete one row of each kind, as far as their pictures can be read."""
    kinds: dict[str, Recipe | None] = {}
    for row in rows:
        kind = repr(sorted(row.values.items(), key=lambda pair: pair[0]))
        if kinds.get(kind) is not None or len(kinds) > SAMPLED:
            continue
        try:
            kinds[kind] = resolve(row.recipe(recipe), estimate=False)
        except NbdiffuseError:  # said when its turn comes
            kinds[kind] = None
    return [one for one in kinds.values() if one is not None]


class Pace:
    """How fast results come."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.count = 0

    def note(self) -> None:
        """Take note of one more."""
        self.count += 1

    def text(self, left: int) -> str:
        """Say how many come in a minute, and how long so many more take; empty before the first."""
        passed = time.monotonic() - self._began
        if not self.count or passed <= 0:
            return ""
        return f"{60 * self.count / passed:.0f} a minute, {duration_text(left * passed / self.count)} left"

"""Records: a sweep as rows of a table."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..errors import NbdiffuseError
from ..recipes.steps import real_steps
from ..results import Result
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from .grid_metrics import GridMetrics
from .outcomes import FailedCell, Outcomes


def records(sweep: Sweep, outcomes: Outcomes, measures: GridMetrics) -> list[dict[str, Any]]:
    """Return a row for each cell: coordinates, steps, seconds, where its image comes from, its error, and what was measured."""
    return [_record(sweep, cell, outcomes, measures) for cell in sweep.cells()]


def _record(sweep: Sweep, cell: SweepCell, outcomes: Outcomes, measures: GridMetrics) -> dict[str, Any]:
    outcome, first = outcomes.outcomes.get(cell.picture_key), sweep.group_of(cell)[0]
    source = outcomes.sources.get(cell.picture_key, "missing")
    return {
        **dict(cell.coordinates),
        "steps": real_steps(cell.recipe),
        "seconds": outcome.seconds if isinstance(outcome, Result) else None,
        "source": source if cell is first else f"equal to {first.index}",
        "error": str(outcome.error) if isinstance(outcome, FailedCell) else None,
        **measures.columns(cell),
    }


def frame(rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as a `pandas.DataFrame`.

    Raises
    ------
    NbdiffuseError
        pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise NbdiffuseError("`to_frame` needs pandas, which is not installed. Install it, or use records().") from None
    return pandas.DataFrame(rows)

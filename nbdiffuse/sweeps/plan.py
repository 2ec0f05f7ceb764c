"""Plan: what a sweep will run, in one line, before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..recipes.recipe import Recipe
from ..recipes.steps import real_steps


def plan_line(distinct: Sequence[Recipe], cells: int, seconds_per_step: float | None = None) -> str:
    """Say in one line what will run.

    Parameters
    ----------
    distinct
        Complete recipes, one for each picture.
    cells
        Places that the pictures stand in.
    seconds_per_step
        As measured, in seconds, above 0; None leaves the time out.
    """
    steps = sum(map(real_steps, distinct))
    parts = [count_text(cells, "cell"), f"{len(distinct)} distinct", count_text(steps, "step")]
    if seconds_per_step is not None:
        parts.append(f"about {duration_text(steps * seconds_per_step)}")
    return ", ".join([*parts, count_text(len({recipe.model for recipe in distinct}), "model")])


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, such as "3 steps"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "2.5 h"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

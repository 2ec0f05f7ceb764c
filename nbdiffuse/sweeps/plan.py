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
    parts = [_count(cells, "cell"), f"{len(distinct)} distinct", _count(steps, "step")]
    if seconds_per_step is not None:
        parts.append(f"about {_duration(steps * seconds_per_step)}")
    return ", ".join([*parts, _count(len({recipe.model for recipe in distinct}), "model")])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Plan: what a sweep will run, in one line, before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..recipes.recipe import Recipe
from ..recipes.steps import real_steps


def plan_line(images: int, drawn: int, steps: int, seconds_per_step: float | None = None) -> str:
    """Say in one line what will run: how many images, and how long they take.

    Parameters
    ----------
    images
        Places that pictures stand in.
    drawn
        Different pictures, which are run once each.
    steps
        Denoising steps of those.
    seconds_per_step
        As measured, in seconds, above 0; None gives the steps in place of the time.
    """
    parts = [count_text(images, "image"), *([] if drawn == images else [f"{drawn} to draw"])]
    if seconds_per_step is None:
        return ", ".join([*parts, count_text(steps, "step")])
    return ", ".join([*parts, f"about {duration_text(steps * seconds_per_step)}"])


def plan_details(distinct: Sequence[Recipe], cells: int) -> str:
    """Say what a plan counts: cells, different images, steps and models.

    Parameters
    ----------
    distinct
        Complete recipes, one for each picture.
    cells
        Places that the pictures stand in.
    """
    models = list(dict.fromkeys(recipe.model for recipe in distinct))
    steps = sum(map(real_steps, distinct))
    counts = [count_text(cells, "cell"), f"{len(distinct)} distinct", count_text(steps, "step"), count_text(len(models), "model")]
    return f"{', '.join(counts)}: {', '.join(models)}"


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, such as "3 steps"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "2.5 h"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Suggest a value: how far a run may go so that enough of the picture is kept, found with few runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Interrupted, ParameterError, breaks_rule
from ..families.parameters import number_text
from ..families.step_rules import strengths_by_steps
from ..images.contact_sheets import noted
from ..images.fidelity import kept
from ..recipes.comparison import own_mask
from ..recipes.presets import preset_of
from ..recipes.recipe import PARAMS, Recipe
from ..recipes.resolve import resolve
from ..recipes.taken_fields import settable
from ..results import Result
from ..store.store import Store
from .grid import Grid
from .sweep_api import sweep

HOLDING = ("image_guidance_scale",)
"""Fields whose higher values keep more of the picture; of the others lower ones do."""
OF_EDITS = ("image_guidance_scale", "guidance_scale", "true_cfg_scale")
"""What says how far an edit goes, the first that its family takes."""


@dataclass(frozen=True, eq=False)
class Suggestion:
    """A value that keeps enough of a picture, and how it was found.

    Parameters
    ----------
    result
        The result at that value.
    field
        What was searched.
    keep
        What was asked for, in [0, 1].
    tried
        Share that was kept by value, in the order of the search.
    runs
        How many pictures had to be made; the others were in the store.
    """

    result: Result
    field: str
    keep: float
    tried: Mapping[float, float]
    runs: int

    @property
    def recipe(self) -> Recipe:
        """The complete recipe at that value."""
        return self.result.recipe

    @property
    def kept(self) -> float:
        """Share that it keeps, see `fidelity.Fidelity.kept`."""
        return self.tried[self.recipe.get(self.field)]

    @property
    def line(self) -> str:
        """What was found, in one line."""
        value = f"{self.field} {number_text(self.recipe.get(self.field))}"
        made = f"found with {self.runs} {'run' if self.runs == 1 else 'runs'} of {len(self.tried)} values"
        if self.kept < self.keep:
            return f"No {self.field} keeps {self.keep:.0%}: {value} keeps {self.kept:.0%}, {made}."
        return f"{value} keeps {self.kept:.0%} of what should stay (at least {self.keep:.0%} was asked), {made}."

    def __repr__(self) -> str:
        return f"suggestion: {self.field}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted({**self.result.bundle(), "text/plain": repr(self)}, [self.line])


def suggest(recipe: Recipe, keep: float = 0.8, *, by: str | None = None, store: Store | None = None) -> Suggestion:
    """Find how far a run may go so that enough of its initial picture is kept.

    Parameters
    ----------
    recipe
        With an initial picture; the field that is searched is left out or ignored.
    keep
        Share of what should stay that has to, in [0, 1], see `images.fidelity`: outside the mask, and without one
        of the whole picture.
    by
        The field that is searched: "strength", and for families that edit "image_guidance_scale" or another
        guidance, when not given.
    store
        Where finished pictures are looked for and kept; `Store()` when not given.

    Returns
    -------
    Of the values that were tried, the one that goes furthest and keeps enough; where none does, the one that keeps most.

    Raises
    ------
    ParameterError
        There is no initial picture, or a value breaks its rule.
    Interrupted
        What is finished is kept: the same call goes on from there.

    Notes
    -----
    Bisection over the values that make pictures of their own: as many runs as twos make up their number. It takes for
    granted that a value that goes further keeps less.
    """
    if isinstance(keep, bool) or not isinstance(keep, (int, float)) or not 0 <= keep <= 1:
        raise ParameterError(breaks_rule("keep", "a number in [0, 1], such as 0.8", keep))
    if recipe.image is None:
        raise ParameterError("`image` must be given: without an initial picture there is nothing to keep.")
    field = _field(recipe) if by is None else by
    values = _values(recipe, field)
    finished = store or Store()
    axes: dict[str, Any] = {field: values}
    grid = sweep(recipe.replace(**{"noise": None, field: None}), finished, **axes)
    if grid._unfinished:
        # The same call draws the same seed until it is done.
        finished.remember(grid._unfinished, str(grid.sweep.base.seed))
    tried: dict[float, float] = {}
    results: dict[int, Result] = {}
    enough, too_far = -1, len(values)
    while too_far - enough > 1:
        middle = (enough + too_far) // 2
        results[middle], tried[values[middle]] = _made(grid, middle, len(tried))
        enough, too_far = (middle, too_far) if tried[values[middle]] >= keep else (enough, middle)
    if grid._unfinished:
        finished.forget(grid._unfinished)
    chosen = enough if enough >= 0 else max(results, key=lambda index: tried[values[index]])
    runs = sum(grid._outcomes.sources[grid.sweep.cells()[index].picture_key] == "run" for index in results)
    return Suggestion(results[chosen], field, float(keep), tried, runs)


def _made(grid: Grid, index: int, before: int) -> tuple[Result, float]:
    """Return a cell's result and the share that it keeps; `before` is how many were there before it."""
    try:
        outcome = grid[index]
        if isinstance(outcome, Result):
            return outcome, _kept(outcome)
        failure: Exception = outcome.error
    except (Interrupted, KeyboardInterrupt):
        failure = Interrupted(f"Stopped after {before} values. Call it again: what is finished is kept.")
    # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
    raise failure


def _kept(result: Result) -> float:
    initial = result.initial
    return kept(initial, result.image, own_mask(result.recipe)) if initial is not None else math.nan


def _field(recipe: Recipe) -> str:
    """Return what says how far a recipe's run goes."""
    taken = settable(recipe)
    found = [name for name in (OF_EDITS if preset_of(recipe.model).edits else ("strength",)) if name in taken]
    if not found:
        raise ParameterError(f"`by` must be given for {recipe.model}, which takes none of {', '.join(OF_EDITS)}.")
    return found[0]


def _values(recipe: Recipe, field: str) -> Sequence[float]:
    """Return the values of a field that make pictures of their own, from the one that keeps most."""
    if field == "strength":
        complete = resolve(recipe.replace(strength=None, noise=None))
        steps = strengths_by_steps(complete.num_inference_steps or 1, preset_of(complete.model).step_rule)
        return [value for value in steps if value > 0]
    param = PARAMS.get(field)
    if param is None or param.kind is not float or param.usual is None or param.step is None:
        raise ParameterError(breaks_rule("by", f"strength or a guidance, such as {OF_EDITS[0]}", field))
    low, high = param.usual
    count = round((high - low) / param.step)
    values = [round(low + place * param.step, 6) for place in range(count + 1)]
    return values[::-1] if field in HOLDING else values

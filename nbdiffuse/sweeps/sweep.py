"""Sweeps: a base recipe and named axes, as one value that resolves to complete recipes."""

from __future__ import annotations

import itertools
import json
import math
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import ParameterError, Words, breaks_rule
from ..families.aliases import advice
from ..recipes.recipe import Recipe
from ..recipes.resolve import estimated, resolve
from ..recipes.steps import real_steps
from .axes import Axis
from .cell import SweepCell
from .plan import plan_details, plan_line

FORMAT = 1
"""Format number of a sweep's JSON."""
MAX_CELLS = 1000
"""Cells that need no `yes`."""
MOST_CELLS = 100_000


@dataclass(frozen=True)
class Sweep:
    """A base recipe and the axes along which it varies; every cell is checked when it is made.

    An open seed is drawn once, so that cells differ by their axes alone.

    Parameters
    ----------
    base
        Fields that no axis names.
    axes
        The last one runs along a row, the one before down the rows, others from table
        to table.
    yes
        Whether more than 1000 cells are meant; not compared.

    Raises
    ------
    ParameterError
        An axis or a cell breaks a rule, or there are more than 1000 cells without
        `yes`, or more than 100 000.
    """

    base: Recipe
    axes: tuple[Axis, ...] = ()
    yes: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        for name in names:
            if names.count(name) > 1:
                raise ParameterError(breaks_rule(name, "on one axis", Words("two"), "Put all its values on one."))
        self._check_count()
        if self.base.seed is None and "seed" not in names:
            object.__setattr__(self, "base", self.base.replace(seed=secrets.randbelow(2**32)))
        self.cells()

    def _check_count(self) -> None:
        count = math.prod(self.shape)
        most = MOST_CELLS if self.yes else MAX_CELLS
        if count > most:
            size = " x ".join(map(str, self.shape))
            way_out = "Split the sweep, or take values out."
            if count <= MOST_CELLS:
                way_out = "If you mean it, add `--yes` (in Python `yes=True`); else take values out."
            raise ParameterError(breaks_rule("axes", f"at most {most} cells", Words(f"{size} = {count}"), way_out))

    @classmethod
    def of(cls, recipe: Recipe, yes: bool = False, /, **axes: Any) -> Sweep:
        """Make a sweep from values by field.

        Parameters
        ----------
        recipe
            The base.
        yes
            Whether more than 1000 cells are meant.
        **axes
            For each field an iterable of values, or their text such as "0.2:1:0.2".

        Examples
        --------
        >>> Sweep.of(Recipe(prompt="a cat"), seed=range(4), guidance_scale="1,5,10").shape
        (4, 3)
        """
        if not isinstance(recipe, Recipe):
            raise ParameterError(breaks_rule("recipe", "a Recipe", recipe, "Write Recipe(prompt=..., image=...)."))
        return cls(recipe, tuple(Axis(name, values) for name, values in axes.items()), yes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Count of values on each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    def axis(self, name: str) -> Axis:
        """Return the axis of a field, or raise `ParameterError` with the nearest name."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        known = [axis.name for axis in self.axes]
        way_out = advice(name, {own: own for own in known}, f"It has: {', '.join(known) or 'none'}.")
        raise ParameterError(f"`{name}` must be an axis of this sweep. {way_out}")

    def sel(self, **coordinates: Any) -> Sweep:
        """Return the part of the sweep at some values.

        Parameters
        ----------
        **coordinates
            For each axis a value, which takes the axis away, or a list of values,
            which shortens it. The label of a value will do.

        Raises
        ------
        ParameterError
            There is no such axis, or no such value on it.
        """
        base, axes = self.base, {axis.name: axis for axis in self.axes}
        for name, wanted in coordinates.items():
            axis = self.axis(name)
            if isinstance(wanted, (list, tuple, range)):
                axes[name] = Axis(name, tuple(map(axis.find, wanted)))
            else:
                base = base.replace(**{name: axis.find(wanted)})
                del axes[name]
        return Sweep(base, tuple(axes.values()), self.yes)

    def extend(self, **axes: Any) -> Sweep:
        """Return the sweep with more values on its axes; those already there stand once.

        Raises
        ------
        ParameterError
            There is no such axis, or a value breaks its rule.
        """
        grown = {axis.name: axis for axis in self.axes}
        for name, values in axes.items():
            own, new = self.axis(name).values, Axis(name, values).values
            grown[name] = Axis(name, own + tuple(value for value in new if value not in own))
        return Sweep(self.base, tuple(grown.values()), self.yes)

    def pivot(self, *names: str) -> Sweep:
        """Return the same cells with other rows and columns.

        Parameters
        ----------
        *names
            Axes that come last, in this order: (rows, columns), or (columns,); the
            order is reversed when none is named.

        Raises
        ------
        ParameterError
            There is no such axis, or it is named twice.
        """
        last = tuple(self.axis(name) for name in names) or self.axes[::-1]
        return Sweep(self.base, tuple(axis for axis in self.axes if axis not in last) + last, self.yes)

    def cells(self) -> tuple[SweepCell, ...]:
        """Return every cell with its complete recipe, the last axis changing fastest."""
        return self._cells

    @cached_property
    def _cells(self) -> tuple[SweepCell, ...]:
        names = [axis.name for axis in self.axes]
        places = itertools.product(*(axis.values for axis in self.axes))
        coordinates = [tuple(zip(names, place, strict=True)) for place in places]
        complete = [resolve(self.base.replace(**dict(each)), estimate=False) for each in coordinates]
        # Every cell is checked before a model runs for one of them.
        return tuple(SweepCell(index, each, estimated(complete[index])) for index, each in enumerate(coordinates))

    def distinct(self) -> tuple[tuple[SweepCell, ...], ...]:
        """Group the cells that are the same image; the first recipe of a group stands for it.

        Returns
        -------
        tuple of tuple of SweepCell
            By first cell, except that cells of one model stand together, so that no
            model is loaded twice.
        """
        return self._distinct

    @cached_property
    def _distinct(self) -> tuple[tuple[SweepCell, ...], ...]:
        groups: dict[str, list[SweepCell]] = {}
        for cell in self.cells():
            groups.setdefault(cell.picture_key, []).append(cell)
        models = list(dict.fromkeys(cell.recipe.model for cell in self.cells()))
        return tuple(sorted(map(tuple, groups.values()), key=lambda group: models.index(group[0].recipe.model)))

    def group_of(self, cell: SweepCell) -> tuple[SweepCell, ...]:
        """Return the cells that are the same image as this one, itself included."""
        return self._groups[cell.picture_key]

    @cached_property
    def _groups(self) -> dict[str, tuple[SweepCell, ...]]:
        return {group[0].picture_key: group for group in self.distinct()}

    def plan_line(self, seconds_per_step: float | None = None) -> str:
        """Say in one line what will run.

        Parameters
        ----------
        seconds_per_step
            As measured, in seconds, above 0; None gives the steps in place of the time.

        Examples
        --------
        >>> Sweep.of(Recipe(prompt="a cat"), seed=range(25)).plan_line(0.01)
        '25 images, about 12 s'
        """
        recipes = self._recipes()
        return plan_line(len(self.cells()), len(recipes), sum(map(real_steps, recipes)), seconds_per_step)

    def plan_details(self) -> str:
        """Say what the plan counts: cells, different images, steps and models."""
        return plan_details(self._recipes(), len(self.cells()))

    def _recipes(self) -> list[Recipe]:
        return [group[0].recipe for group in self.distinct()]

    def to_json(self) -> str:
        """Return canonical JSON; pictures stand as content addresses."""
        axes = [[axis.name, [getattr(value, "address", value) for value in axis.values]] for axis in self.axes]
        values = {"format": FORMAT, "base": json.loads(self.base.to_json()), "axes": axes}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, yes: bool = False) -> Sweep:
        """Read what `to_json` wrote; this process must have seen the pictures."""
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise ParameterError(f"A sweep must be a JSON object of format {FORMAT}.")
            axes = tuple(Axis(name, tuple(given)) for name, given in values["axes"])
            base = Recipe.from_json(json.dumps(values["base"]))
        except (KeyError, TypeError, RecursionError, ValueError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(f"A sweep must be JSON with a base and axes: {type(error).__name__}.") from None
        return cls(base, axes, yes)

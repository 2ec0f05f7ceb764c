"""Sweeps of chains: a base chain, and axes that each sit on one of its steps, such as `2.strength`."""

from __future__ import annotations

import itertools
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import ParameterError, Words, breaks_rule, did_you_mean
from ..recipes.chain import Chain
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve_chain
from ..recipes.steps import real_steps
from .axes import Axis
from .plan import count_text, plan_details, plan_line
from .sweep import MAX_CELLS

_NAME = re.compile(r"(?P<step>\d+)\.(?P<field>\w+(\.\w+)*)", re.ASCII)


@dataclass(frozen=True)
class StepAxis:
    """One field of one step, and the values it takes.

    Parameters
    ----------
    step
        Counted from 1.
    axis
        The field and its values.
    """

    step: int
    axis: Axis

    @property
    def name(self) -> str:
        """Such as "2.strength"."""
        return f"{self.step}.{self.axis.name}"

    @property
    def values(self) -> tuple[Any, ...]:
        """See `Axis`."""
        return self.axis.values

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Axis`."""
        return self.axis.labels


@dataclass(frozen=True)
class ChainPlace:
    """One place of a sweep of chains; `index` is counted from 0, `coordinates` are (axis, value), `chain` is complete."""

    index: int
    coordinates: tuple[tuple[str, Any], ...]
    chain: Chain


@dataclass(frozen=True)
class ChainSweep:
    """A base chain and the axes along which its steps vary; every cell is checked when it is made.

    An open seed is drawn once, so that cells differ by their axes alone.

    Parameters
    ----------
    base
        Fields that no axis names.
    axes
        As for `Sweep`: the last one runs along a row.

    Raises
    ------
    ParameterError
        An axis or a cell breaks a rule, or there are more than 1000 cells.
    """

    base: Chain
    axes: tuple[StepAxis, ...]

    def __post_init__(self) -> None:
        count = math.prod(len(axis.values) for axis in self.axes)
        if count > MAX_CELLS:
            raise ParameterError(breaks_rule("axes", f"at most {MAX_CELLS} cells", Words(str(count)), "Take values out."))
        if all(step.seed is None for step in self.base):
            object.__setattr__(self, "base", self.base.replace(1, seed=secrets.randbelow(2**32)))
        self.cells()

    @classmethod
    def of(cls, chain: Chain, axes: Mapping[str, Any]) -> ChainSweep:
        """Make a sweep from values by step and field.

        Parameters
        ----------
        chain
            The base.
        axes
            For each name such as "2.strength" an iterable of values, or their text such as "0.2:1:0.2".

        Raises
        ------
        ParameterError
            A name is none, or there is no such step.
        """
        return cls(chain, tuple(_axis(chain, name, values) for name, values in axes.items()))

    def cells(self) -> tuple[ChainPlace, ...]:
        """Return every cell with its complete chain, the last axis changing fastest."""
        return self._cells

    @cached_property
    def _cells(self) -> tuple[ChainPlace, ...]:
        cells = []
        for index, place in enumerate(itertools.product(*(axis.values for axis in self.axes))):
            chain = self.base
            for axis, value in zip(self.axes, place, strict=True):
                chain = chain.replace(axis.step, **{axis.axis.name: value})
            names = (axis.name for axis in self.axes)
            cells.append(ChainPlace(index, tuple(zip(names, place, strict=True)), resolve_chain(chain)))
        return tuple(cells)

    def plan_line(self, seconds_per_step: float | None = None) -> str:
        """Say in one line what will run; what cells have in common counts once.

        Parameters
        ----------
        seconds_per_step
            As measured, in seconds, above 0; None gives the steps in place of the time.

        Examples
        --------
        >>> chain = Recipe(prompt="a cat") >> Recipe(prompt="a robot")
        >>> ChainSweep.of(chain, {"2.strength": [0.4, 0.8]}).plan_line()
        '2 chains, 3 images, 110 steps'
        """
        recipes = self._recipes()
        line = plan_line(len(recipes), len(recipes), sum(map(real_steps, recipes)), seconds_per_step)
        return f"{count_text(len(self.cells()), 'chain')}, {line}"

    def plan_details(self) -> str:
        """Say what the plan counts: the steps of the chains, different images, their steps and models."""
        return plan_details(self._recipes(), len(self.cells()) * len(self.base))

    def _recipes(self) -> list[Recipe]:
        cells = self.cells()
        pictures = {cell.chain.steps[: number + 1]: cell.chain[number] for cell in cells for number in range(len(self.base))}
        return list(pictures.values())


def field_of(axis: str) -> str:
    """Return the field that an axis varies; that of a chain's step is named "2.strength"."""
    named = _NAME.fullmatch(axis)
    return named["field"] if named else axis


def _axis(chain: Chain, name: str, values: Any) -> StepAxis:
    named = _NAME.fullmatch(name)
    if named is None:
        way_out = f"Write 1.{name} or {len(chain)}.{name}." if name.isidentifier() else ""
        raise ParameterError(breaks_rule("axis", "a step and a field such as 2.strength", name, way_out))
    step = int(named["step"])
    if not 1 <= step <= len(chain):
        known = [f"{number}.{named['field']}" for number in range(1, len(chain) + 1)]
        raise ParameterError(breaks_rule("axis", f"on a step in [1, {len(chain)}]", name, did_you_mean(name, known)))
    if step > 1 and named["field"] == "image":
        raise ParameterError(f"`{name}` must be what step {step - 1} makes. Put the axis on `1.image`.")
    return StepAxis(step, Axis(named["field"], values))

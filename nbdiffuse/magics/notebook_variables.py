"""Notebook variables: the pictures, axes and executors that words of a cell name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cells.variables import find_picture
from ..errors import ParameterError, breaks_rule
from ..images.picture import Picture
from ..recipes.recipe import PARAMS, Recipe
from ..sessions.named_executors import WORDS
from ..sweeps.chain_sweep import field_of


class NotebookVariables:
    """The names of a notebook.

    Parameters
    ----------
    variables
        By name; looked at when a word is asked for.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe that a cell's values make, its pictures found."""
        return Recipe.from_dict({name: self._value(name, value) for name, value in values.items()})

    def _value(self, name: str, value: Any) -> Any:
        param = PARAMS[name]
        return find_picture(value, self._variables) if param.kind is Picture and not param.is_word(value) else value

    def axes(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Return the axes of a sweep as typed, their pictures found; the axis of a chain's step is named "2.strength"."""
        return {
            name: [self._value(field_of(name), word) for word in typed] if PARAMS[field_of(name)].kind is Picture else typed
            for name, typed in words.items()
        }

    def executor(self, name: str | None) -> Any:
        """Return what a variable holds, to run cells on, or a word of its own such as "dask"; None for none."""
        if name is None:
            return None
        if name not in self._variables and name in WORDS:
            return name
        if name not in self._variables:
            rule = f"the name of a variable that holds an executor, or one of {', '.join(WORDS)}"
            raise ParameterError(breaks_rule("--executor", rule, name))
        return self._variables[name]

"""What the words of a cell stand for, among the variables of a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cells.variables import find_picture
from ..errors import ParameterError, breaks_rule
from ..images.picture import Picture
from ..recipes.controlnets import controlnet_of
from ..recipes.fields import of_first
from ..recipes.recipe import PARAMS, Recipe
from ..sessions.session import get_session
from ..sweeps.chain_sweep import field_of

AUTO = "auto"
"""In place of a control picture: it is estimated from the initial one."""


class Names:
    """The names of a notebook.

    Parameters
    ----------
    variables
        By name; looked at when a word is asked for.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe that a cell's values make, its pictures found and its depth maps estimated."""
        taken = {
            name: find_picture(value, self._variables) if PARAMS[name].kind is Picture and value != AUTO else value
            for name, value in values.items()
        }
        for field in [name for name in taken if of_first(name) == "control_image" and taken[name] == AUTO]:
            if "image" not in taken:
                raise ParameterError(f"`{field}` must be a picture where there is no initial one, got {AUTO!r}.")
            net = taken.get(field.replace("image", "checkpoint") if "." in field else "controlnet")
            if net and not controlnet_of(str(net)).estimator:
                raise ParameterError(f"`{field}` must be a picture for {net}: `{AUTO}` makes depth maps, for `depth`.")
            taken[field] = get_session().depth_map(taken["image"])
        return Recipe.from_dict(taken)

    def axes(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Return the axes of a sweep as typed, their pictures found; the axis of a chain's step is named "2.strength"."""
        return {
            name: [find_picture(word, self._variables) for word in typed] if PARAMS[field_of(name)].kind is Picture else typed
            for name, typed in words.items()
        }

    def executor(self, name: str | None) -> Any:
        """Return what a variable holds, to run cells on; None for none."""
        if name is None:
            return None
        if name not in self._variables:
            raise ParameterError(breaks_rule("--executor", "the name of a variable that holds an executor", name))
        return self._variables[name]

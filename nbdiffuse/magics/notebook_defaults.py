"""Notebook defaults: options that every cell begins with, by `%diffuse defaults --model comic --num-inference-steps 20`."""

from __future__ import annotations

import shlex
from collections.abc import Container, Mapping
from typing import Any

from ..cells.flags import fields_of, flag
from ..cells.options import parse_cell
from ..errors import ParameterError, breaks_rule

_INSTEAD = {"strength": "noise", "noise": "strength", "model": "checkpoint"}
"""Fields that a cell's own other one takes the place of."""


class NotebookDefaults:
    """Options that cells of this notebook begin with; a cell's own win over them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def command(self, line: str, variables: Mapping[str, Any]) -> str:
        """Set, show or forget the defaults.

        Parameters
        ----------
        line
            Options as in a cell, "none" to forget them, or nothing to show them.
        variables
            As for `parse_cell`.

        Raises
        ------
        ParameterError
            An option is none that a recipe has, or has several values.
        """
        if line.strip() == "none":
            self.values = {}
        elif line.strip():
            asked = parse_cell("img2img", f"example:cat {line}", "a cat", variables)
            if asked.axes or asked.out or asked.save or asked.panel:
                rule = "options of a recipe with one value each"
                raise ParameterError(breaks_rule("%diffuse defaults", rule, line, "Write the others in the cell."))
            self.values = {name: value for name, value in asked.values.items() if name not in ("image", "prompt")}
        return f"defaults of this notebook: {self._text(self.values) or 'none'}"

    def under(self, values: dict[str, Any], task: str, axes: Container[str] = ()) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a cell's values with the defaults below them, and a line that says which were used."""
        known = fields_of(task)
        used = {
            name: value
            for name, value in self.values.items()
            if name in known and not any(one in values or one in axes for one in (name, _INSTEAD.get(name, name)))
        }
        return {**used, **values}, (f"Defaults of this notebook: {self._text(used)}",) if used else ()

    @staticmethod
    def _text(values: Mapping[str, Any]) -> str:
        return " ".join(f"{flag(name)} {shlex.quote(str(value))}" for name, value in values.items())

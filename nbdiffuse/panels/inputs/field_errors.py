"""Field errors: what is wrong with a field stands below its control, which is marked for screen readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError
from ..output import html_lines

INVALID = "nbd-invalid"
"""Class of a control whose value is wrong; `accessibility.js` gives its box `aria-invalid`."""


class FieldErrors:
    """The errors of one set of controls, each below the control of the field that it names."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._lines: dict[str, Any] = {}

    def tell(self, problems: Mapping[str, NbdiffuseError], others: Iterable[Any], names: Iterable[str]) -> None:
        """Take note of what is wrong.

        Parameters
        ----------
        problems
            Errors by field.
        others
            Further values, of which errors are told beside the first field that they name.
        names
            Fields that are in sight, in their order.
        """
        said = {name: str(error) for name, error in problems.items()}
        for error in others:
            if isinstance(error, NbdiffuseError) and str(error) not in said.values():
                named = next((name for name in names if f"`{name}`" in str(error)), None)
                if named is not None:
                    said.setdefault(named, str(error))
        self._said = said

    def with_lines(self, controls: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return controls by field, a line below each that is wrong."""
        children: list[Any] = []
        for name, control in controls.items():
            children.append(control)
            if name not in self._said:
                control.remove_class(INVALID)
                continue
            line = self._lines.setdefault(name, widgets.HTML())
            line.value = html_lines.field_error(" ".join(self._said[name].split()))
            control.add_class(INVALID)
            children.append(line)
        return tuple(children)

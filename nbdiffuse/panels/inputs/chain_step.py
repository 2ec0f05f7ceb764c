"""Chain step: a set of controls, folded under a line that says what the step does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError
from ...recipes.recipe import Recipe
from ..runtime.callback_thread import CallbackThread
from ..runtime.closing import close
from ..runtime.events import on_click, on_user_change
from .controls import Controls

LONGEST = 40
"""Characters of a prompt that stand in a step's line."""


class ChainStepControls:
    """One step: its line, which folds the controls away, and a button that takes it out.

    Parameters
    ----------
    on_remove
        Called on the callback thread with the step.
    """

    def __init__(self, thread: CallbackThread, controls: Controls, on_remove: Callable[[ChainStepControls], None]) -> None:
        self.controls = controls
        self._line = widgets.ToggleButton(icon="chevron-right", tooltip="show or hide the controls of this step")
        self._remove = widgets.Button(icon="times", description="Remove", tooltip="take this step out of the chain")
        head = widgets.HBox([self._line, self._remove]).add_class("nbd-step-head")
        self.widget = widgets.VBox([head, controls.widget]).add_class("nbd-step")
        on_user_change(self._line, thread, lambda: self.unfold(bool(self._line.value)))
        on_click(self._remove, thread, lambda: on_remove(self))
        self.unfold(False)

    def unfold(self, shown: bool) -> None:
        """Show the controls, or put them away."""
        self._line.value = shown
        self._line.icon = "chevron-down" if shown else "chevron-right"
        self.controls.widget.layout.display = "" if shown else "none"

    def close(self) -> None:
        """Give back its widgets, once it is out of sight for good."""
        self.controls.close()
        close(self.widget)

    def describe(self, number: int, only: bool) -> None:
        """Say in the line what the step does; the `only` one cannot be taken out."""
        asked = self.controls.asked
        self._line.description = f"{number}  {asked.model}: {_shortened(asked.prompt) or 'no prompt yet'}"
        self._remove.disabled = only

    @property
    def recipe(self) -> Recipe:
        """What the controls ask for; an error names no step."""
        return self.controls.recipe

    @property
    def problem(self) -> NbdiffuseError | None:
        """What is wrong with the controls, or None."""
        outlook: Any = self.controls.outlook
        return None if isinstance(outlook, Recipe) else outlook


def _shortened(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

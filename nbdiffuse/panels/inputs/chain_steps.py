"""Chain steps: the steps of a chain panel in their order; each redraws what the one above it made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError, ParameterError
from ...recipes.chain import Chain
from ...recipes.recipe import Recipe
from ...recipes.resolve import BLANK
from ...recipes.taken_fields import settable
from ..actions.actions import button
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_click
from .chain_step import ChainStepControls
from .controls import Controls, check_taken


def check_steps(recipes: list[Recipe]) -> None:
    """Refuse steps of which one has a field that its preset does not take.

    Raises
    ------
    ParameterError
        It names the step.
    """
    for number, recipe in enumerate(recipes, start=1):
        try:
            check_taken(recipe if number == 1 else recipe.replace(image=BLANK))
        except ParameterError as error:
            raise ParameterError(f"Step {number}: {error}") from None


class ChainSteps:
    """A chain's steps, and the button that adds one; all of it is used on the callback thread.

    Parameters
    ----------
    new_controls
        Makes a step's controls; told whether the step follows another one.
    guarded
        Shows what its argument raises, see `BasePanel.guarded`.
    on_change
        Called when a step was added or taken out.
    """

    def __init__(
        self,
        thread: CallbackThread,
        new_controls: Callable[[bool], Controls],
        guarded: Callable[[Callable[..., None]], Callable[..., None]],
        on_change: Callable[[], None],
    ) -> None:
        self._thread, self._new_controls, self._guarded, self._on_change = thread, new_controls, guarded, on_change
        self._steps: list[ChainStepControls] = []
        self._boxes = widgets.VBox().add_class("nbd-steps")
        self._add = button("Add a step", "plus", "redraw what the last step makes")
        on_click(self._add, thread, guarded(self._append))
        buttons = widgets.HBox([self._add]).add_class("nbd-buttons")
        self.widget: Any = widgets.VBox([self._boxes, buttons]).add_class("nbd-chain")

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> ChainStepControls:
        return self._steps[index]

    @property
    def sets(self) -> list[Controls]:
        """The controls of each step."""
        return [step.controls for step in self._steps]

    @property
    def chain(self) -> Chain:
        """What the controls ask for.

        Raises
        ------
        ParameterError, ImageInputError
            What stands in a control breaks its rule; the line names the step.
        """
        recipes = []
        for number, step in enumerate(self._steps, start=1):
            try:
                recipes.append(step.recipe)
            except NbdiffuseError as error:
                raise type(error)(f"Step {number}: {error}") from None
        return Chain(tuple(recipes))

    @property
    def problem(self) -> NbdiffuseError | None:
        """What is wrong with the first step that cannot run, or None."""
        for number, step in enumerate(self._steps, start=1):
            if step.problem is not None:
                return ParameterError(f"Step {number}: {step.problem}")
        return None

    @property
    def words(self) -> list[dict[str, str | None]]:
        """The word under which a cell finds each picture of each step."""
        return [{name: step.controls.word(name) for name in step.recipe.pictures} for step in self._steps]

    def show(self, recipes: list[Recipe]) -> None:
        """Have a step for each recipe; those that are there already are moved."""
        while len(self._steps) < len(recipes):
            controls = self._new_controls(bool(self._steps))
            self._steps.append(ChainStepControls(self._thread, controls, self._guarded(self._take_out)))
        dropped, self._steps = self._steps[len(recipes) :], self._steps[: len(recipes)]
        for step, recipe in zip(self._steps, recipes, strict=True):
            step.controls.show(recipe)
        if len(self._boxes.children) == 0:
            self._steps[0].unfold(True)
        children = tuple(step.widget for step in self._steps)
        if self._boxes.children != children:
            self._boxes.children = children
        for old in dropped:
            old.close()

    def describe(self) -> None:
        """Say in each step's line what it does."""
        for number, step in enumerate(self._steps, start=1):
            step.describe(number, len(self._steps) == 1)

    def _append(self) -> None:
        last = self._steps[-1].recipe
        self.show([*self.chain, Recipe(prompt=last.prompt, model=last.model)])
        for step in self._steps:
            step.unfold(step is self._steps[-1])
        self._on_change()

    def _take_out(self, step: ChainStepControls) -> None:
        first, *others = [other.recipe for other in self._steps if other is not step]
        # What the chain begins with stays, whichever step does the first redrawing.
        beginning = first.replace(image=self._steps[0].recipe.image)
        taken = settable(beginning)
        untaken = [name for name in beginning.values() if name not in taken]
        self.show([beginning.replace(**dict.fromkeys(untaken)), *others])
        self._on_change()

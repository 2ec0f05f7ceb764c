"""Sweep controls: two axes over the panel's values, and the grid below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError, ParameterError
from ...images.picture import Picture
from ...recipes.presets import preset_of
from ...recipes.recipe import PARAMS, PROMPTS, Recipe
from ...recipes.taken_fields import settable
from ...results import Result
from ...runs.grid import Grid
from ...runs.sweep_api import sweep
from ...sweeps.axes import Axis
from ...sweeps.sweep import Sweep
from ...sweeps.tables import coordinates_text
from ..output import html_lines
from ..output.thumbnail_button import thumbnail_button
from ..output.thumbnails import encoded_sheet
from ..runtime.callback_thread import CallbackThread
from ..runtime.closing import close
from ..runtime.events import on_click, on_user_change
from .number_controls import label_of

NONE = "none"
SUGGESTED = {
    "strength": "0.2:1:0.2",
    "guidance_scale": "1,4,7.5,10.5",
    "num_inference_steps": "10,20,50",
    "seed": "1..4",
    "controlnet_conditioning_scale": "0:1:0.25",
    "mask_crop": "0,32,64",
    "mask_invert": "false,true",
    "mask_grow": "0,8,16",
    "mask_blur": "0,4,8",
}
"""Values that a person may begin with."""
PRESSED = 100
"""Cells of a grid that can be pressed, the first ones."""


class SweepControls:
    """Two axes, what they would run, and the grid.

    Parameters
    ----------
    recipe
        Returns what the controls say, or raises its error.
    on_run
        Called on the callback thread with a grid that is to run.
    on_problem
        Called on the callback thread with an error of the axes.
    on_open
        Called on the callback thread with the result of a cell that was pressed.
    """

    def __init__(
        self,
        thread: CallbackThread,
        recipe: Callable[[], Recipe],
        on_run: Callable[[Grid], None],
        on_problem: Callable[[NbdiffuseError], None],
        on_open: Callable[[Result], None],
    ) -> None:
        self._recipe, self._on_run, self._on_problem, self._thread = recipe, on_run, on_problem, thread
        self._on_open = on_open
        self._axes = [_AxisRow(thread, title, self.plan) for title in ("rows", "columns")]
        self._plan = widgets.HTML()
        self._button = widgets.Button(description="Run sweep", tooltip="run every cell that is not there yet", icon="th")
        self._sheet, self._notes = widgets.HTML(), widgets.HTML()
        self._cells = widgets.HBox().add_class("nbd-strip")
        self._shown: tuple[Grid, int] | None = None
        on_click(self._button, thread, self._run)
        rows = [row.widget for row in self._axes]
        footer = widgets.HBox([self._button, self._plan]).add_class("nbd-buttons")
        self.widget = widgets.VBox([*rows, footer, self._sheet, self._cells, self._notes]).add_class("nbd-sweep")
        self.widget.layout.display = "none"

    @property
    def open(self) -> bool:
        """Whether it is in sight."""
        return self.widget.layout.display != "none"

    def toggle(self, shown: bool) -> None:
        """Bring it into sight, or put it away."""
        self.widget.layout.display = "" if shown else "none"
        if shown:
            self.refresh()

    def refresh(self) -> None:
        """Offer the fields that the recipe can vary now."""
        if not self.open:
            return
        try:
            recipe = self._recipe()
        except NbdiffuseError as error:
            self._plan.value = html_lines.note(str(error))
            return
        fields = tuple(name for name in settable(recipe) if PARAMS[name].kind is not Picture and name != "checkpoint")
        wanted = [name for name in ("strength", "guidance_scale", "seed") if name in fields]
        for row, first in zip(self._axes, (*wanted, NONE, NONE), strict=False):
            row.offer(fields, first, recipe)
        self.plan()

    def plan(self) -> None:
        """Say what the sweep would run."""
        try:
            self._plan.value = html_lines.note(Sweep(self._recipe(), self._read_axes()).plan_line())
        except NbdiffuseError as error:
            self._plan.value = html_lines.note(str(error))

    def show(self, grid: Grid) -> None:
        """Show a grid as far as it is there."""
        bundle = grid.bundle()
        self._sheet.value = html_lines.image(encoded_sheet(bundle["image/png"]), repr(grid))
        self._notes.value = html_lines.notices(list(grid.notices))
        self._offer_cells(grid)

    def _offer_cells(self, grid: Grid) -> None:
        """Show a small picture of each cell, at most `PRESSED`, which opens it with its settings."""
        if grid.missing or self._shown == (grid, len(grid)):
            return
        self._shown = (grid, len(grid))
        found = [(cell, grid[cell.index]) for cell in grid.sweep.cells()[:PRESSED]]
        old = self._cells.children
        self._cells.children = [
            thumbnail_button(result, label, f"open {label}", self._thread, self._on_open)
            for cell, result in found
            if isinstance(result, Result) and (label := coordinates_text(grid.sweep, cell) or "the one cell")
        ]
        for one in old:
            close(one)

    def enable(self, enabled: bool) -> None:
        """Let the sweep be run, or not."""
        self._button.disabled = not enabled

    def _read_axes(self) -> tuple[Axis, ...]:
        axes = tuple(axis for row in self._axes if (axis := row.read()))
        if not axes:
            raise ParameterError("A sweep must have at least one axis. Choose a field for the rows or the columns.")
        return axes

    def _run(self) -> None:
        try:
            axes = self._read_axes()
            # Names become keys below, where two of one name would be one.
            Sweep(self._recipe(), axes)
            values: dict[str, Any] = {axis.name: axis.values for axis in axes}
            grid = sweep(self._recipe(), **values)
        except NbdiffuseError as error:
            self._on_problem(error)
        else:
            self._on_run(grid)


class _AxisRow:
    def __init__(self, thread: CallbackThread, title: str, on_change: Callable[[], None]) -> None:
        self._field = widgets.Dropdown(options=(NONE,), description=title, tooltip=f"what varies along the {title}")
        self._values = widgets.Text(
            description=f"values in {title}",
            tooltip="0.4,0.6 or 0.2:1:0.2 or 1..4; prompts between |",
            placeholder="0.4,0.6  or  0.2:1:0.2  or  1..4",
            continuous_update=False,
        )
        self._recipe = Recipe()
        self._on_change = on_change
        self.widget = widgets.HBox([self._field, self._values]).add_class("nbd-axis")
        on_user_change(self._field, thread, self._chosen)
        on_user_change(self._values, thread, on_change)

    def offer(self, fields: tuple[str, ...], first: str, recipe: Recipe) -> None:
        options = ((NONE, NONE), *((label_of(name), name) for name in fields))
        self._recipe = recipe
        if self._field.options == options:
            return
        fresh = len(self._field.options) <= 1
        value = first if fresh else self._field.value if self._field.value in fields else NONE
        with self._field.hold_sync():
            self._field.options = options
            self._field.value = value
        if fresh:
            self._values.value = self._suggestion(value)

    def read(self) -> Axis | None:
        name = self._field.value
        return None if name in (NONE, None) else Axis(name, self._values.value)

    def _chosen(self) -> None:
        self._values.value = self._suggestion(self._field.value)
        self._on_change()

    def _suggestion(self, name: str) -> str:
        if name == NONE:
            return ""
        if name in PROMPTS:
            return str(getattr(self._recipe, name) or "")
        if name == "scheduler":
            return ",".join(preset_of(self._recipe.model).schedulers[:4])
        return SUGGESTED.get(name, ",".join(PARAMS[name].choices or ()))

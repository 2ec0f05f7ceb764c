"""Recipe panel: controls on one side and results on the other, over one recipe and one session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from ..images.latents import Latents
from ..images.picture import Picture
from ..recipes.recipe import Recipe
from ..recipes.resolve import minimal, resolve
from ..recipes.summary import weights_label
from ..results import Result
from ..runs.grid import Grid
from ..runs.sweep_api import sweep
from ..sessions.session import Session
from ..sweeps.cell import SweepCell
from ..sweeps.plan import count_text
from .actions.actions import Actions, button
from .actions.dropped_file import dropped_file
from .actions.exports import cell_of, program_of
from .history.history_strip import LONGEST, HistoryStrip
from .inputs.controls import Controls
from .inputs.sweep_controls import SweepControls
from .runtime.base_panel import BasePanel
from .runtime.events import on_click, on_user_change
from .runtime.panel_run import begin_recipe, begin_waiting


class Panel(BasePanel):
    """Sliders for a recipe, its runs and its results; shown by being the last value of a cell.

    Parameters
    ----------
    recipe
        What the controls begin with, complete or not.
    session
        Runs it; this process's session when not given.
    names
        The notebook's variables, by name.

    Attributes
    ----------
    grid
        The newest sweep, or None.
    last_error
        The newest error that the panel showed, or None.

    Raises
    ------
    ParameterError
        The preset does not take one of the recipe's fields.
    """

    def __init__(self, recipe: Recipe, session: Session | None = None, names: Mapping[str, Any] | None = None) -> None:
        super().__init__(session, names)
        self.grid: Grid | None = None
        self._running: Recipe | None = None
        self._several: Grid | None = None
        self._controls = self._new_controls(self._restore)
        self._history = HistoryStrip(self._thread, self.guarded(self._bring_back), self.guarded(self._compare_with))
        self._compared: Result | None = None
        self._sweep = SweepControls(
            self._thread, lambda: self._controls.recipe, self._run_grid, self._fail, self.guarded(self._bring_back)
        )
        self._start_button = button("Use as initial image", "arrow-left", "redraw this result")
        self._sweep_button = widgets.ToggleButton(description="Try several values", icon="th", tooltip="vary one or two fields")
        self._actions = Actions(self._thread, self, [self._start_button, self._sweep_button])
        on_click(self._start_button, self._thread, self.guarded(self._start_from_shown))
        on_user_change(self._sweep_button, self._thread, self.guarded(lambda: self._sweep.toggle(bool(self._sweep_button.value))))
        self._count = widgets.BoundedIntText(
            value=1, min=1, max=LONGEST, description="pictures", tooltip="pictures of a press, seeds from the one shown on"
        ).add_class("nbd-count")
        below = [self._actions.widget, self._history.widget, self._sweep.widget]
        self.widget = self._framed(self._controls.widget, below, [self._count])
        self._enable_runs()
        self.show(recipe)

    @property
    def recipe(self) -> Recipe:
        """What the controls ask for; fields that nobody set are open.

        Raises
        ------
        ParameterError, ImageInputError
            What stands in a control breaks its rule.
        """
        return self._thread.call(lambda: self._controls.recipe)

    @property
    def result(self) -> Result | None:
        """The result in the output view, or None."""
        return self._thread.call(lambda: self.shown)

    @property
    def results(self) -> list[Result]:
        """The results in the strip, the newest first."""
        return self._thread.call(lambda: list(self._history.results))

    @property
    def cell(self) -> str:
        """The cell that makes what is shown; a picture that has no name is written beside the notebook for it."""
        return self._thread.call(lambda: self.as_cell()[0])

    def show(self, recipe: Recipe, result: Result | None = None) -> None:
        """Move the controls to a recipe, and put a result of it in the output view.

        Raises
        ------
        ParameterError
            The preset does not take one of its fields; nothing moves.
        """

        def move() -> None:
            self._controls.show(without_latents(recipe))
            self._standing = None
            self._describe_plan()
            if result is not None and result.problem is None:
                self._adopt(result)

        self._thread.call(move)

    # What the runner tells, on the callback thread.

    def started(self) -> None:
        """A run begins."""
        super().started()
        self._output.begin(self._running)

    def on_progress(self, progress: Any, waited: float) -> None:
        """A run is where `progress` says, or waits since `waited` seconds."""
        if isinstance(progress, Grid):
            total = len(progress.sweep.distinct())
            self._output.progress_to((total - progress.missing) / total, f"{total - progress.missing} of {total} images")
            self._sweep.show(progress)
        elif progress is not None:
            self._output.progress(progress)
        else:
            self._output.waiting(self._running.model if self._running else "the sweep", waited)

    def _finish(self, made: Any) -> None:
        if self._running is None and self.grid is not None:
            self._sweep.show(self.grid)
            self._static_output.update(self.grid)
        if self._running is None and self._several is self.grid is not None:
            self._adopt_several(self.grid)
        elif isinstance(made, Result):
            self._adopt(made)
            self._keep(made)
        elif made is not None:
            self._output.say(f"Done: {count_text(len(made), 'image')}.")

    # What a person does, on the callback thread.

    def _describe_plan(self) -> None:
        if not self._runner.busy:
            self._output.plan(self._controls.outlook)
        self._sweep.refresh()

    def _run(self) -> None:
        self._controls.check_prompt()
        if self._count.value == 1:
            self._begin(resolve(self._controls.recipe))
            return
        several = sweep(self._controls.recipe, num_images_per_prompt=self._count.value)
        self._several = several
        self._run_grid(several)

    def _run_live(self) -> None:
        self._controls.check_prompt()
        complete = resolve(self._controls.recipe)
        shown = self.shown.recipe if self.shown is not None else None
        now = self._running if self._runner.busy else shown
        if now is not None and _same_image(now, complete):
            return
        past = next((result for result in self._history.results if _same_image(result.recipe, complete)), None)
        if past is None:
            self._begin(complete)
            return
        self._runner.stop()
        self._put_on_stage(past, "the same image as before")

    def _go_live(self) -> None:
        asked = self._controls.recipe
        if asked.seed is None:
            self._controls.set("seed", self.shown.recipe.seed if self.shown else resolve(asked).seed)
        self._run_live()

    def _begin(self, complete: Recipe) -> None:
        self._start(complete, begin_recipe(self._session, complete))

    def _run_grid(self, grid: Grid) -> None:
        self._start(None, begin_waiting(grid, lambda: grid.missing), grid)

    def _start(self, recipe: Recipe | None, begin: Callable[..., Any], grid: Grid | None = None) -> None:
        def begun(note: Callable[[Any], None]) -> Any:
            # Only now: what ran before may have had to end first.
            job = begin(note)
            self._running, self.grid = recipe, grid or self.grid
            seed = recipe.seed if recipe is not None else grid.sweep.base.seed if grid is not None else None
            if seed is not None:
                self._controls.show_drawn(seed)
            return job

        self._runner.run(begun)

    def _adopt(self, result: Result) -> None:
        self.last_error = None
        told = f"{weights_label(result.recipe)}, seed {result.recipe.seed}"
        self._put_on_stage(result, f"{told}, {result.seconds:.1f} s" if result.seconds else told)
        self._static_output.update(result)

    def _adopt_several(self, grid: Grid) -> None:
        """Put what is finished of a press's pictures into the strip, and the first one in the output view."""
        finished = list(grid.finished)
        for result in reversed(finished):
            self._history.choose(result)
        if finished:
            self._adopt(finished[0])
            self._static_output.update(grid)

    def _put_on_stage(self, result: Result, told: str) -> None:
        self.shown = result
        if self._compared is None:
            self._output.finish(result, told)
        else:
            self._output.finish(result, told, self._compared.image, f"compared with seed {self._compared.recipe.seed}")
        self._history.choose(result)
        self._enable()

    def _compare_with(self, result: Result | None) -> None:
        self._compared = result
        if self.shown is not None:
            self._put_on_stage(self.shown, "Press another result to compare it with this one." if result else "")

    def _bring_back(self, result: Result) -> None:
        self._controls.show(minimal(without_latents(result.recipe)))
        self._standing = None
        self._sweep.refresh()
        self._put_on_stage(result, "The settings are those of this result.")

    def _restore(self, name: str, content: bytes) -> bool:
        dropped = dropped_file(name, content)
        if dropped is None:
            return False
        self._controls.show(dropped.recipe)
        self._standing = None
        self._describe_plan()
        if dropped.result is not None:
            self._adopt(dropped.result)
        self._output.say(" ".join(dropped.lines))
        return True

    # What the actions ask, on the callback thread.

    def written(self) -> Recipe:
        """What the controls ask for, with the seed of the result in the output view where the rest is what made it."""
        asked = self._controls.recipe
        if asked.seed is None and self.shown is not None:
            seeded = asked.replace(seed=self.shown.recipe.seed)
            if resolve(seeded) == self.shown.recipe:
                return seeded
        return asked

    def as_cell(self) -> tuple[str, list[str]]:
        """The cell of what is shown, and which files were written for it."""
        words = {name: self._controls.word(name) for name in self._controls.recipe.pictures}
        return cell_of(self.written(), words, self.names)

    def as_program(self) -> tuple[str, list[str]]:
        """The program that gives the same pixels, and which files it opens."""
        return program_of(resolve(self.written()))

    def _start_from_shown(self) -> None:
        self._controls.set("image", Picture.of(self._actions.result().image, label="result"))

    def _sets(self) -> list[Controls]:
        return [self._controls]

    def _enable(self) -> None:
        self._sweep.enable(not self._runner.busy)
        self._start_button.disabled = self.shown is None
        self._actions.enable(self.shown is not None)


def _same_image(one: Recipe, other: Recipe) -> bool:
    """Whether two complete recipes draw the same image: equal, or strengths that run the same steps."""
    return SweepCell(0, (), one).picture_key == SweepCell(0, (), other).picture_key


def without_latents(recipe: Recipe) -> Recipe:
    """Put the picture that latents show in their place: a panel has controls for pictures alone."""
    return recipe.replace(image=recipe.image.view) if isinstance(recipe.image, Latents) else recipe

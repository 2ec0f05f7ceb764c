"""The chain panel: a set of controls for each step, one output, and the strip of what the steps made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets as widgets

from ..recipes.chain import Chain
from ..recipes.notices import before_run
from ..recipes.resolve import resolve_chain
from ..runs.chain_run import ChainRun
from ..runs.notices import numbered
from ..sessions.session import Session
from .actions.actions import Actions
from .actions.dropped_file import dropped_file
from .actions.exports import chain_cell_of, program_of
from .inputs.chain_steps import ChainSteps, check_steps
from .inputs.controls import Controls
from .output import html_lines
from .output.thumbnails import encoded
from .recipe_panel import without_latents
from .runtime.base_panel import BasePanel
from .runtime.panel_run import begin_waiting

SIDE = 256
"""Longer side of a step's picture in the strip, at most, in pixels."""


class ChainPanel(BasePanel):
    """Sliders for a chain: each step redraws what the one before made.

    Parameters
    ----------
    chain
        What the controls begin with, complete or not.
    session
        Runs it; this process's session when not given.
    names
        The notebook's variables, by name.

    Attributes
    ----------
    last_error
        The newest error that the panel showed, or None.

    Raises
    ------
    ParameterError
        A preset does not take one of its step's fields.
    """

    def __init__(self, chain: Chain, session: Session | None = None, names: Mapping[str, Any] | None = None) -> None:
        super().__init__(session, names)
        self._running: ChainRun | None = None
        self._made: ChainRun | None = None
        self._painted: tuple[ChainRun | None, int] = (None, 0)
        new_controls = partial(self._new_controls, self._restore)
        self._steps = ChainSteps(self._thread, new_controls, self.guarded, lambda: self._changed("prompt"))
        self._sheet = widgets.HTML()
        self._actions = Actions(self._thread, self)
        self.widget = self._framed(self._steps.widget, [self._actions.widget, self._sheet])
        self._enable_runs()
        self.show(chain)

    @property
    def chain(self) -> Chain:
        """What the controls ask for; fields that nobody set are open.

        Raises
        ------
        ParameterError, ImageInputError
            What stands in a control breaks its rule.
        """
        return self._thread.call(lambda: self._steps.chain)

    @property
    def result(self) -> ChainRun | None:
        """The newest run that came to its end, or None."""
        return self._thread.call(lambda: self._made)

    @property
    def cell(self) -> str:
        """The cell that makes what is shown; a picture that has no name is written beside the notebook for it."""
        return self._thread.call(lambda: self.as_cell()[0])

    def show(self, chain: Chain, result: ChainRun | None = None) -> None:
        """Move the controls to a chain, and put its run in the output view.

        Raises
        ------
        ParameterError
            A preset does not take one of its step's fields; nothing moves.
        """

        def move() -> None:
            steps = [without_latents(step) for step in chain]
            check_steps(steps)
            self._steps.show(steps)
            self._standing = None
            self._describe_plan()
            if result is not None and result.results:
                self._adopt(result)

        self._thread.call(move)

    # What the runner tells, on the callback thread.

    def started(self) -> None:
        """A run begins."""
        super().started()
        if self._running is not None:
            self._output.begin(self._running.chain[0])

    def on_progress(self, progress: Any, waited: float) -> None:
        """A run is where `progress` says, or waits since `waited` seconds."""
        if not isinstance(progress, ChainRun):
            self._output.waiting(self._running.chain[0].model if self._running else "the chain", waited)
            return
        total, done, step = len(progress.chain), len(progress), progress.progress
        where = f"{min(done + 1, total)} of {total}, {progress.under_way.partition('  ')[2]}"
        if step is None:
            self._output.progress_to(done / total, where)
        else:
            self._output.progress(step, f"{where}: ", (done + step.step / step.steps) / total)
        self._paint(progress)

    def _finish(self, made: Any) -> None:
        if isinstance(made, ChainRun):
            self._adopt(made)
            self._keep(made.results[-1])
        elif self._running is not None:
            # The steps that were finished before the stop stay in sight.
            self._paint(self._running)
            self._output.note(self._running.notices)

    def _adopt(self, run: ChainRun) -> None:
        self._made, self.shown = run, run.results[-1]
        self._show_again()
        seconds = sum(result.seconds for result in run.results)
        self._output.say(f"{run!r}, seed {run.chain[0].seed}, {seconds:.1f} s")
        self._static_output.update(run)
        self._enable()

    def _show_again(self) -> None:
        if self._made is None:
            super()._show_again()
            return
        first, *_, last = (self._made.results[0], *self._made.results)
        self._output.finish(last, before=first.initial)
        self._output.note(self._made.notices)
        self._paint(self._made)

    def _paint(self, run: ChainRun) -> None:
        """Show the strip of steps as far as it is there."""
        if not run.results or self._painted == (run, len(run)):
            return
        self._painted = (run, len(run))
        figures = (html_lines.figure(encoded(cell.image, SIDE), cell.label) for cell in run.cells() if cell.image is not None)
        self._sheet.value = f'<div class="nbd-strip-of-steps" aria-label="{html_lines.safe(repr(run))}">{"".join(figures)}</div>'

    # What a person does, on the callback thread.

    def _describe_plan(self) -> None:
        self._steps.describe()
        if self._runner.busy:
            return
        problem, count = self._steps.problem, len(self._steps)
        if problem is not None:
            self._output.problem(problem)
        else:
            self._output.say(f"{count} step{'' if count == 1 else 's'}: press Run")
            self._output.note(numbered([before_run(step) for step in resolve_chain(self._steps.chain)], "Step"))

    def _run(self) -> None:
        for controls in self._steps.sets:
            controls.check_prompt()
        self._begin(resolve_chain(self._steps.chain))

    def _begin(self, complete: Chain) -> None:
        run = ChainRun(complete, self._session)
        begin = begin_waiting(run, lambda: len(run))

        def begun(note: Any) -> Any:
            # Only now: what ran before may have had to end first.
            self._running = run
            for controls, recipe in zip(self._steps.sets, run.chain, strict=False):
                if recipe.seed is not None:
                    controls.show_drawn(recipe.seed)
            return begin(note)

        self._runner.run(begun)

    def _run_live(self) -> None:
        complete = resolve_chain(self._steps.chain)
        now = self._running if self._runner.busy else self._made
        if now is None or now.chain != complete:
            self._begin(complete)

    def _go_live(self) -> None:
        asked = self._steps.chain
        if all(step.seed is None for step in asked):
            # Steps without a seed share the first one's.
            seed = self._made.chain[0].seed if self._made is not None else resolve_chain(asked)[0].seed
            self._steps.sets[0].set("seed", seed)
        self._run_live()

    def _restore(self, name: str, content: bytes) -> bool:
        dropped = dropped_file(name, content)
        if dropped is None:
            return False
        self._steps.show([dropped.recipe, *self._steps.chain.steps[1:]])
        self._standing = None
        self._describe_plan()
        self._output.say(" ".join(dropped.lines))
        return True

    def _sets(self) -> list[Controls]:
        return self._steps.sets

    def _enable(self) -> None:
        self._actions.enable(self.shown is not None)

    # What the actions ask, on the callback thread.

    def written(self) -> Chain:
        """What the controls ask for, with the seed of the newest run where the rest is what made it."""
        asked, made = self._steps.chain, self._made
        if made is not None and all(step.seed is None for step in asked):
            seeded = asked.replace(1, seed=made.chain[0].seed)
            if resolve_chain(seeded) == made.chain:
                return seeded
        return asked

    def as_cell(self) -> tuple[str, list[str]]:
        """The cell of what is shown, and which files were written for it."""
        return chain_cell_of(self.written(), self._steps.words, self.names)

    def as_program(self) -> tuple[str, list[str]]:
        """The program that gives the same pixels, and which files it opens."""
        written, made = self.written(), self._made
        return program_of(made if made is not None and resolve_chain(written) == made.chain else written)

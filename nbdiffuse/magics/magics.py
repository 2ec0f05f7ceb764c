"""The cell magics `%%img2img`, `%%txt2img`, `%%edit`, `%%chain` and `%%loopback`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.display import display

from ..batches.batch import Batch
from ..batches.batch_api import batch
from ..cells.batches import folder_for
from ..cells.chains import CHAIN_HELP, ChainCell, parse_chain
from ..cells.loopbacks import LOOP_HELP, parse_loopback
from ..cells.options import Cell, help_text, parse_cell
from ..devices.worker import Job
from ..errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.targets import check_file, check_folder
from ..metadata.image_files import SUFFIXES
from ..recipes.chain import Chain
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.summary import notices
from ..results import Result
from ..runs.chain_grid import ChainGrid
from ..runs.chain_run import ChainRun
from ..runs.grid import Grid
from ..runs.loopback import FORMATS, Loopback
from ..runs.sweep_api import sweep
from ..sessions.session import get_session
from ..sessions.waiting import wait
from ..store import index
from ..store.store import Store
from .commands import DiffuseCommands, Panels
from .interrupts import ends_as_interrupted, ignore_further_interrupts
from .live_batch import LiveBatch
from .live_display import LiveGrid, LiveRun, LiveRuns
from .notebook_defaults import NotebookDefaults
from .notebook_variables import NotebookVariables
from .terminal import in_terminal, written_line

_BETWEEN = "Stopped between two pictures. What is finished is kept: run the cell again for the rest."

Several = Batch | Grid | ChainGrid | ChainRun | Loopback
"""What makes several pictures."""


@magics_class
class DiffusionMagics(Magics):
    """Image-to-image, text-to-image and editing in a cell.

    Parameters
    ----------
    panels
        Returns the panels, which are imported with the first one.
    defaults
        Options that every cell begins with.
    """

    def __init__(self, shell: InteractiveShell, panels: Callable[[], Panels], defaults: NotebookDefaults) -> None:
        super().__init__(shell)
        self._panels, self._defaults = panels, defaults

    @no_var_expand
    @cell_magic
    @ends_as_interrupted
    def img2img(self, line: str, cell: str) -> None:
        self._run("img2img", line, cell)

    @no_var_expand
    @cell_magic
    @ends_as_interrupted
    def txt2img(self, line: str, cell: str) -> None:
        self._run("txt2img", line, cell)

    @no_var_expand
    @cell_magic
    @ends_as_interrupted
    def edit(self, line: str, cell: str) -> None:
        self._run("edit", line, cell)

    img2img.__doc__ = help_text("img2img")
    txt2img.__doc__ = help_text("txt2img")
    edit.__doc__ = help_text("edit")

    @no_var_expand
    @cell_magic
    @ends_as_interrupted
    def chain(self, line: str, cell: str) -> None:
        asked = parse_chain(line, cell, self.shell.user_ns)
        steps = [self._defaults.under(values, "img2img", _axes_of(asked, at)) for at, values in enumerate(asked.steps, 1)]
        said = tuple(dict.fromkeys(line for _, lines in steps for line in lines))
        asked = replace(asked, steps=tuple(values for values, _ in steps), notices=(*said, *asked.notices))
        if asked.save and not asked.axes:
            check_file(asked.save, SUFFIXES)
            check_folder(Path(asked.save).with_suffix(""))
        chain = Chain(tuple(self._names.recipe(values) for values in asked.steps))
        if asked.axes:
            self._chain_grid(chain, asked)
            return
        run = ChainRun(chain, store=Store())
        _say(*asked.notices)
        self._fill(run, LiveRuns(run, animated=self._animated), asked.out)
        kept = index.keep(run.results[-1])
        _say(*([kept] if kept else []))
        if asked.save:
            run.save(asked.save)
        if asked.panel:
            self._move_panel(chain, run)

    chain.__doc__ = CHAIN_HELP

    def _chain_grid(self, chain: Chain, asked: ChainCell) -> None:
        _check_folder(asked.save)
        grid = sweep(chain, **self._names.axes(asked.axes))
        self._fill_grid(grid, asked)
        if asked.save:
            grid.save(asked.save)
        if asked.panel:
            self._move_panel(chain)

    @no_var_expand
    @cell_magic
    @ends_as_interrupted
    def loopback(self, line: str, cell: str) -> None:
        asked, values = parse_loopback(line, cell, self.shell.user_ns)
        asked = self._with_defaults(asked, "img2img")
        if asked.save and Path(asked.save).suffix.lower() not in FORMATS:
            raise ParameterError(breaks_rule("--save", "a file name that ends in .gif or .webp", asked.save))
        if asked.save:
            check_file(asked.save, FORMATS)
        loop = Loopback(self._names.recipe(asked.values), **values)
        _say(*asked.notices)
        self._fill(loop, LiveRuns(loop, animated=self._animated), asked.out)
        if asked.save:
            loop.save(asked.save)

    loopback.__doc__ = LOOP_HELP

    def _run(self, task: str, line: str, body: str) -> None:
        asked = self._with_defaults(parse_cell(task, line, body, self.shell.user_ns), task)
        if asked.many is not None:
            self._batch(task, asked, asked.many)
            return
        made = self._grid(asked) if asked.is_grid else self._result(asked)
        if asked.out:
            self.shell.user_ns[asked.out] = made
        if asked.save:
            made.save(asked.save)
        elif in_terminal(self.shell):
            _say(written_line(made, asked.out))
        if isinstance(made, Grid):
            for metric in asked.measure:
                display(made.heatmap(metric))
        if asked.panel:
            self._move_panel(self._names.recipe(asked.values), None if isinstance(made, Grid) else made)

    def _with_defaults(self, asked: Cell, task: str) -> Cell:
        values, said = self._defaults.under(asked.values, task, asked.axes)
        return replace(asked, values=values, notices=(*said, *asked.notices))

    def _move_panel(self, link: Recipe | Chain, made: Result | ChainRun | None = None) -> None:
        opened = self._panels().follow(link, made)
        if opened is not None:
            display(opened)

    def _result(self, asked: Cell) -> Result:
        if asked.save:
            check_file(asked.save, SUFFIXES)
        recipe = resolve(self._names.recipe(asked.values))
        said = (*notices(recipe), *asked.notices)
        _say(*said)
        result = self._watched(recipe)
        kept = index.keep(result)
        _say(*(line for line in result.notices if line not in said), *([kept] if kept else []))
        return result

    def _grid(self, asked: Cell) -> Grid:
        _check_folder(asked.save)
        executor, axes = self._names.executor(asked.executor), self._names.axes(asked.axes)
        how: dict[str, Any] = {"yes": asked.yes, "num_images_per_prompt": asked.num_images_per_prompt, **axes}
        grid = sweep(self._names.recipe(asked.values), executor=executor, **how)
        grid.check(*asked.measure)
        self._fill_grid(grid, asked)
        return grid

    def _batch(self, task: str, asked: Cell, many: dict[str, Any]) -> None:
        folder = folder_for(many, asked.save, task)
        _check_folder(folder)
        recipe, executor = self._names.recipe(asked.values), self._names.executor(asked.executor)
        how: dict[str, Any] = {"num_images_per_prompt": asked.num_images_per_prompt, **many, **self._names.axes(asked.axes)}
        made = batch(recipe, folder=folder, executor=executor, **how)
        _say(made.plan_line(), *asked.notices)
        self._fill(made, LiveBatch(made, animated=self._animated), asked.out)

    def _fill_grid(self, grid: Grid | ChainGrid, asked: Cell | ChainCell) -> None:
        _say(grid.plan_line(), *asked.notices)
        self._fill(grid, LiveGrid(grid, animated=self._animated), asked.out)

    def _fill(
        self, made: Batch | Grid | ChainGrid | ChainRun | Loopback, live: LiveBatch | LiveGrid | LiveRuns, out: str | None
    ) -> None:
        """Run what has several pictures while it is shown; what is known of them before is said before."""
        said = made.before_run
        _say(*said)
        if out:
            # Also after an interrupt what is finished is at hand.
            self.shell.user_ns[out] = made
        failure: NbdiffuseError | None = None
        try:
            made.run(live.refresh)
        except KeyboardInterrupt:
            failure = Interrupted(_BETWEEN)
        except NbdiffuseError as error:
            failure = error
        if isinstance(failure, Interrupted):
            ignore_further_interrupts(self.shell)
        try:
            live.finish()
            # Also of what was finished before a stop or a failure.
            _say(*(line for line in made.notices if line not in said))
        except KeyboardInterrupt:
            # It came while the last picture was drawn, which is drawn again.
            ignore_further_interrupts(self.shell)
            live.finish()
            failure = failure or Interrupted(_BETWEEN)
        if failure is not None:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            raise failure

    def _watched(self, recipe: Recipe) -> Result:
        live: LiveRun | None = None
        job: Job[Result] | None = None
        try:
            live = LiveRun(recipe, animated=self._animated)
            job = get_session().submit(recipe, live.on_progress)
            result = wait(job, live.refresh)
            live.finish(result)
            return result
        except (NbdiffuseError, KeyboardInterrupt) as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            failure = (
                error if isinstance(error, NbdiffuseError) else Interrupted("Stopped at the edge of the run; nothing is kept.")
            )
        if stopped:
            ignore_further_interrupts(self.shell)
        if job is not None:
            job.stop()
        if live is not None:
            live.fail("stopped" if stopped else "failed")
        # Raised outside the `except`, so that no traceback keeps the failed run's frames.
        raise failure

    @property
    def _names(self) -> NotebookVariables:
        return NotebookVariables(self.shell.user_ns)

    @property
    def _animated(self) -> bool:
        """Whether displays can be updated: outside of a kernel each update would be a line more."""
        return hasattr(self.shell, "kernel")


def _say(*lines: str) -> None:
    for line in lines:
        display({"text/plain": line}, raw=True)


def _axes_of(asked: ChainCell, step: int) -> set[str]:
    """Return the fields that a step of a chain, from 1, varies."""
    return {name.partition(".")[2] for name in asked.axes if name.startswith(f"{step}.")}


def _check_folder(save: str | None) -> None:
    if save and Path(save).suffix.lower() in SUFFIXES:
        raise ParameterError(breaks_rule("--save", "a folder for several pictures", save))
    if save:
        check_folder(save)


def register(shell: InteractiveShell, panels: Callable[[], Panels]) -> None:
    """Register the magics in a shell."""
    defaults = NotebookDefaults()
    shell.register_magics(DiffusionMagics(shell, panels, defaults), DiffuseCommands(shell, panels, defaults))

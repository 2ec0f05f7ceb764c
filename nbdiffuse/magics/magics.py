"""The cell magics `%%img2img` and `%%txt2img`."""

from __future__ import annotations

import glob
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.display import display

from ..cells.chains import CHAIN_HELP, ChainCell, parse_chain
from ..cells.loopbacks import LOOP_HELP, parse_loopback
from ..cells.options import Cell, completions, help_text, parse_cell
from ..cells.variables import find_picture
from ..devices.worker import Job
from ..errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..images.picture import Picture
from ..metadata.image_files import SUFFIXES, check_suffix
from ..recipes.captions import notices
from ..recipes.chain import Chain
from ..recipes.completion import resolve
from ..recipes.controlnets import controlnet_of
from ..recipes.recipe import PARAMS, Recipe
from ..results import Result
from ..runs.chain_grid import ChainGrid
from ..runs.chain_run import ChainRun
from ..runs.grid import Grid
from ..runs.loopback import FORMATS, Loopback
from ..runs.sweeping import sweep
from ..sessions.session import get_session, wait
from ..store import archive
from ..store.store import Store
from .commands import DiffuseCommands, Panels
from .live import LiveGrid, LiveRun, LiveRuns

AUTO = "auto"
"""In place of a control picture: it is estimated from the initial one."""


@magics_class
class DiffusionMagics(Magics):
    """Image-to-image and text-to-image in a cell.

    Parameters
    ----------
    panels
        Returns the panels, which are imported with the first one.
    """

    def __init__(self, shell: InteractiveShell, panels: Callable[[], Panels]) -> None:
        super().__init__(shell)
        self._panels = panels

    @no_var_expand
    @cell_magic
    def img2img(self, line: str, cell: str) -> None:
        self._run("img2img", line, cell)

    @no_var_expand
    @cell_magic
    def txt2img(self, line: str, cell: str) -> None:
        self._run("txt2img", line, cell)

    img2img.__doc__ = help_text("img2img")
    txt2img.__doc__ = help_text("txt2img")

    @no_var_expand
    @cell_magic
    def chain(self, line: str, cell: str) -> None:
        asked = parse_chain(line, cell)
        if asked.save and not asked.axes:
            check_suffix(asked.save)
        chain = Chain(tuple(self._recipe_of(values) for values in asked.steps))
        if asked.axes:
            self._chain_grid(chain, asked)
            return
        run = ChainRun(chain, store=Store())
        for notice in asked.notices:
            _say(notice)
        live = LiveRuns(run, animated=hasattr(self.shell, "kernel"))
        if asked.out:
            # Also after an interrupt the finished steps are at hand.
            self.shell.user_ns[asked.out] = run
        try:
            run.run(live.refresh)
        except Interrupted:
            self._ignore_further_interrupts()
            raise
        finally:
            live.finish()
        kept = archive.keep(run.results[-1])
        for notice in (*run.notices, *([kept] if kept else [])):
            _say(notice)
        if asked.save:
            run.save(asked.save)
        if asked.panel:
            self._move_panel(chain, run)

    chain.__doc__ = CHAIN_HELP

    def _chain_grid(self, chain: Chain, asked: ChainCell) -> None:
        _refuse_file(asked.save)
        axes: dict[str, Any] = {
            name: [self._picture(word) for word in words] if PARAMS[name.partition(".")[2]].kind is Picture else words
            for name, words in asked.axes.items()
        }
        grid = sweep(chain, **axes)
        self._fill(grid, asked)
        if asked.save:
            grid.save(asked.save)
        if asked.panel:
            self._move_panel(chain)

    @no_var_expand
    @cell_magic
    def loopback(self, line: str, cell: str) -> None:
        asked, values = parse_loopback(line, cell)
        if asked.save and Path(asked.save).suffix.lower() not in FORMATS:
            raise ParameterError(breaks_rule("--save", "a file name that ends in .gif or .webp", asked.save))
        loop = Loopback(self._recipe(asked), **values)
        for notice in asked.notices:
            _say(notice)
        live = LiveRuns(loop, animated=hasattr(self.shell, "kernel"))
        if asked.out:
            # Also after an interrupt the finished passes are at hand.
            self.shell.user_ns[asked.out] = loop
        try:
            loop.run(live.refresh)
        except Interrupted:
            self._ignore_further_interrupts()
            raise
        finally:
            live.finish()
        if asked.save:
            loop.save(asked.save)

    loopback.__doc__ = LOOP_HELP

    def _run(self, task: str, line: str, body: str) -> None:
        asked = parse_cell(task, line, body)
        made = self._grid(asked) if asked.axes else self._result(asked)
        if asked.out:
            self.shell.user_ns[asked.out] = made
        if asked.save:
            made.save(asked.save)
        if isinstance(made, Grid):
            for metric in asked.measure:
                display(made.heatmap(metric))
        if asked.panel:
            self._move_panel(self._recipe(asked), None if isinstance(made, Grid) else made)

    def _move_panel(self, link: Recipe | Chain, made: Result | ChainRun | None = None) -> None:
        opened = self._panels().follow(link, made)
        if opened is not None:
            display(opened)

    def _result(self, asked: Cell) -> Result:
        if asked.save:
            check_suffix(asked.save)
        recipe = resolve(self._recipe(asked))
        for notice in (*notices(recipe), *asked.notices, *(recipe.image.notices if recipe.image else ())):
            _say(notice)
        result = self._watched(recipe)
        kept = archive.keep(result)
        for notice in (*result.notices, *([kept] if kept else [])):
            _say(notice)
        return result

    def _grid(self, asked: Cell) -> Grid:
        _refuse_file(asked.save)
        axes: dict[str, Any] = {
            name: [self._picture(word) for word in words] if PARAMS[name].kind is Picture else words
            for name, words in asked.axes.items()
        }
        grid = sweep(self._recipe(asked), executor=self._executor(asked.executor), yes=asked.yes, **axes)
        grid.check(*asked.measure)
        self._fill(grid, asked)
        return grid

    def _fill(self, grid: Grid | ChainGrid, asked: Cell | ChainCell) -> None:
        """Run a grid while it is shown."""
        for notice in (grid.sweep.plan_line(), *asked.notices):
            _say(notice)
        live = LiveGrid(grid, animated=hasattr(self.shell, "kernel"))
        if asked.out:
            # Also after an interrupt the finished cells are at hand.
            self.shell.user_ns[asked.out] = grid
        try:
            grid.run(live.refresh)
        except Interrupted:
            self._ignore_further_interrupts()
            raise
        finally:
            live.finish()
        for notice in grid.notices:
            _say(notice)

    def _watched(self, recipe: Recipe) -> Result:
        live: LiveRun | None = None
        job: Job[Result] | None = None
        try:
            live = LiveRun(recipe, animated=hasattr(self.shell, "kernel"))
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
            self._ignore_further_interrupts()
        if job is not None:
            job.stop()
        if live is not None:
            live.fail("stopped" if stopped else "failed")
        # Raised outside the `except`, so that no traceback keeps the failed run's frames.
        raise failure

    def _ignore_further_interrupts(self) -> None:
        """Let a second and third press of the stop button do nothing while this cell ends.

        ipykernel puts its own handler back when the cell's reply is made; without
        this, a late interrupt meets the kernel between two messages and takes the reply with it.
        """
        if hasattr(self.shell, "kernel") and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _recipe(self, asked: Cell) -> Recipe:
        return self._recipe_of(asked.values)

    def _recipe_of(self, values: dict[str, Any]) -> Recipe:
        taken = {
            name: self._picture(value) if PARAMS[name].kind is Picture and value != AUTO else value
            for name, value in values.items()
        }
        for field, netted in (("control_image", "controlnet"), ("control_image_2", "controlnet_2")):
            if taken.get(field) != AUTO:
                continue
            if "image" not in taken:
                raise ParameterError(f"`{field}` must be a picture where there is no initial one, got {AUTO!r}.")
            net = taken.get(netted)
            if net and not controlnet_of(str(net)).estimator:
                raise ParameterError(f"`{field}` must be a picture for {net}: `{AUTO}` makes depth maps, for `depth`.")
            taken[field] = get_session().depth_map(taken["image"])
        return Recipe.from_dict(taken)

    def _executor(self, name: str | None) -> Any:
        if name is None:
            return None
        if name not in self.shell.user_ns:
            raise ParameterError(breaks_rule("--executor", "the name of a variable that holds an executor", name))
        return self.shell.user_ns[name]

    def _picture(self, word: str) -> Picture:
        return find_picture(word, self.shell.user_ns)


def _say(line: str) -> None:
    display({"text/plain": line}, raw=True)


@context_matcher()
def complete_line(context: CompletionContext) -> SimpleMatcherResult:
    """Complete options, their choices and picture files on a magic's line."""
    nothing: SimpleMatcherResult = {"completions": []}
    before = context.line_with_cursor[: context.cursor_position]
    task = next((name for name in ("img2img", "txt2img") if before.startswith(f"%%{name} ")), None)
    if task is None or context.cursor_line != 0:
        return nothing
    words = completions(task, before)
    token = before.split(" ")[-1]
    if words is None:
        suffixes = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
        words = [name for name in sorted(glob.glob(glob.escape(token) + "*")) if name.lower().endswith(suffixes)]
    found = [SimpleCompletion(text=word, type="magic") for word in words]
    return {"completions": found, "matched_fragment": token, "suppress": bool(found)}


def _refuse_file(save: str | None) -> None:
    if save and Path(save).suffix.lower() in SUFFIXES:
        raise ParameterError(breaks_rule("--save", "a folder for several pictures", save))


def load(shell: InteractiveShell, panels: Callable[[], Panels]) -> None:
    """Register magics and completion, once for each shell."""
    shell.register_magics(DiffusionMagics(shell, panels), DiffuseCommands(shell, panels))
    matchers: list[Any] = shell.Completer.custom_matchers
    if complete_line not in matchers:
        matchers.append(complete_line)

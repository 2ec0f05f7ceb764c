"""The cell magics `%%img2img` and `%%txt2img`."""

from __future__ import annotations

import glob
import signal
import threading
from pathlib import Path
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.display import display

from .commands import DiffuseCommands
from .errors import Interrupted, NbdiffuseError, ParameterError, breaks_rule
from .images import Picture
from .live import LiveGrid, LiveRun
from .metadata import SUFFIXES, check_suffix
from .options import Cell, completions, help_text, parse_cell
from .presets import resolve, steps_line
from .recipe import Recipe
from .results import Result
from .session import get_session, wait
from .sweeping import Grid, sweep
from .worker import Job


@magics_class
class DiffusionMagics(Magics):
    """Image-to-image and text-to-image in a cell."""

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

    def _run(self, task: str, line: str, body: str) -> None:
        asked = parse_cell(task, line, body)
        made = self._grid(asked) if asked.axes else self._result(asked)
        if asked.out:
            self.shell.user_ns[asked.out] = made
        if asked.save:
            made.save(asked.save)

    def _result(self, asked: Cell) -> Result:
        if asked.save:
            check_suffix(asked.save)
        recipe = resolve(self._recipe(asked))
        for notice in (steps_line(recipe), *asked.notices, *(recipe.image.notices if recipe.image else ())):
            _say(notice)
        result = self._watched(recipe)
        for notice in result.notices:
            _say(notice)
        return result

    def _grid(self, asked: Cell) -> Grid:
        if asked.save and Path(asked.save).suffix.lower() in SUFFIXES:
            raise ParameterError(breaks_rule("--save", "a folder for several pictures", asked.save))
        axes = {name: [self._picture(word) for word in words] if name == "image" else words for name, words in asked.axes.items()}
        grid = sweep(self._recipe(asked), **axes)
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
        return grid

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
        values = dict(asked.values)
        word = values.get("image")
        if word is not None:
            values["image"] = self._picture(word)
        return Recipe.from_dict(values)

    def _picture(self, word: str) -> Picture:
        held = self.shell.user_ns.get(word) if word.isidentifier() else None
        if isinstance(held, Result):
            return Picture.of(held.image, label=word)
        return Picture.of(word) if held is None else Picture.of(held, label=word)


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


def load(shell: InteractiveShell) -> None:
    """Register magics and completion, once for each shell."""
    shell.register_magics(DiffusionMagics, DiffuseCommands)
    matchers: list[Any] = shell.Completer.custom_matchers
    if complete_line not in matchers:
        matchers.append(complete_line)

"""The line magic `%diffuse` and its commands."""

from __future__ import annotations

import inspect
import shlex
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..families import scheduler_table, table
from ..recipes import listing, weights_source
from ..recipes.presets import PRESETS
from ..runs.program import script_command
from ..sessions.session import get_session
from . import history_commands
from .interrupts import ends_as_interrupted
from .mask_command import paint_mask
from .notebook_defaults import NotebookDefaults
from .tokens_command import tokens

if TYPE_CHECKING:
    from ..recipes.chain import Chain
    from ..recipes.recipe import Recipe
    from ..results import Result
    from ..runs.chain_run import ChainRun

_LIMITS = {"pipelines": 0, "models": 0, "families": 0, "schedulers": 0, "optimize": 2, "mask": 3}
"""Words that commands take at most, where it is not one."""
_MEANINGS = {
    "pipelines": "loaded memory list ls status vram cache resident",
    "models": "presets checkpoints available",
    "families": "family architectures architecture kinds",
    "schedulers": "scheduler samplers sampler schedules",
    "unload": "free clear release drop purge empty offload delete remove rm close",
    "budget": "limit reserve",
    "panel": "gui ui widget open",
    "mask": "paint draw inpaint sketch masks",
    "optimize": "optimise optimization settings optimizations optimization performance attention compile",
    "use": "source switch",
    "defaults": "default preset config set",
    "tokens": "tokenize tokenise token tokenizer",
    "script": "export code program python",
    "read": "info metadata pnginfo png_info inspect exif import load",
    "history": "log past hist recent",
    "plan": "cost estimate eta",
    "diff": "compare difference",
    "lineage": "parents provenance ancestry ancestors tree",
    "verify": "check reproduce replay",
}
"""By command, words that are meant for it elsewhere."""


class Panels(Protocol):
    """Panels, as the magics see them."""

    def panel(self, image: Any = None, /) -> Any: ...
    def follow(self, link: Recipe | Chain, made: Result | ChainRun | None = None, /) -> Any: ...
    def paint_mask(self, image: Any, mask: Any = None, name: str = "mask", on_change: Any = None) -> Any: ...


@magics_class
class DiffuseCommands(Magics):
    """Commands of `%diffuse`.

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
    @line_magic
    @ends_as_interrupted
    def diffuse(self, line: str) -> None:
        """Look after models, and after what was made.

        %diffuse pipelines       what is loaded: size, device, dtype, components
        %diffuse unload [NAME]   drop one checkpoint, or all
        %diffuse budget 8GB      bound what weights take on the device; `auto` undoes it
        %diffuse panel [IMAGE]   sliders for a picture (a file, or the name of a variable), or for a variable that holds a chain
        %diffuse mask IMAGE [SELECTION] [NAME]
                                 paint a mask over a picture (a file, or the name of a variable), from auto:subject or
                                 "text:the sky" on; it is in the variable `mask`, or NAME: --mask-image mask
        %diffuse models          every preset: what it does, its weights, its defaults
        %diffuse families        every kind of model that runs here: its modes, its steps, and what its calls take
        %diffuse schedulers      every sampler: its class and settings here, and what four other tools call it
        %diffuse optimize        how models are run; `optimize attention xformers` moves one optimization
        %diffuse defaults [OPTIONS|none]
                                 options that every cell of this notebook begins with, such as --model comic --seed 7
        %diffuse use embedded|hub    what preset names stand for: the checkpoints in this package, or the originals
        %diffuse tokens [--weighting compel|a1111|none] [--model NAME] [--negative-prompt "..."] PROMPT
                                 how a prompt becomes tokens: weights, chunks, what is not seen;
                                 also for the name of a result
        %diffuse script NAME [FILE.py] [--check]
                                 a result, chain or grid as a program of plain diffusers calls: as the next cell, or
                                 saved with its pictures; `--check` runs it in a fresh process and compares the pixels
        %diffuse read FILE       how a picture was made, by nbdiffuse or another tool; inserts the cell for it
        %diffuse history [WORD…] what this and earlier kernels made: by model, date or a word of the prompt
        %diffuse plan GRID       what a grid runs: images and time, cells, different images, steps, models
        %diffuse diff A B        in which parameters two results or files differ, and how far apart they are
        %diffuse lineage A       what a result or file was made from, and what that was made from
        %diffuse verify A… [--yes]
                                 make results, files or folders again, and tell whether they are the same; `--yes` fetches
                                 from the hub what a file names
        %diffuse replay A [--yes]
                                 make a result or a file again with its whole ancestry
        """
        if line.split(maxsplit=1)[:1] == ["tokens"]:
            # A prompt is no list of words: its quotation marks and backslashes are its own.
            display(tokens(line.strip()[len("tokens") :], self.shell.user_ns))
            return
        if line.split(maxsplit=1)[:1] == ["defaults"]:
            # Options are read as those of a cell are.
            said = self._defaults.command(line.strip()[len("defaults") :], self.shell.user_ns)
            display({"text/plain": said}, raw=True)
            return
        if line.strip() in ("", "help", "?", "-h", "--help"):
            display({"text/plain": inspect.cleandoc(self.diffuse.__doc__ or "")}, raw=True)
            return
        try:
            words = shlex.split(line)
        except ValueError:
            raise ParameterError(breaks_rule("%diffuse", "words whose quotation marks are closed", line)) from None
        if words[:1] == ["script"]:
            shown = script_command(self.shell, words[1:])
            display({"text/plain": shown} if isinstance(shown, str) else shown, raw=isinstance(shown, str))
            return
        commands: dict[str, Callable[..., Any]] = {
            "panel": self._open_panel,
            "mask": lambda *words: paint_mask(self._panels(), self.shell.user_ns, *words),
            "pipelines": pipelines_table,
            "unload": unload,
            "budget": set_budget,
            "models": models_table,
            "families": lambda: _aligned([table.HEAD, *table.rows()]),
            "schedulers": lambda: _aligned([scheduler_table.HEAD, *scheduler_table.rows()]),
            "use": use,
            "optimize": optimize,
            "tokens": str,
            "defaults": str,
            "script": str,
            **history_commands.commands(self.shell),
        }
        name, *arguments = words or [""]
        if name not in commands:
            meant = next((command for command, others in _MEANINGS.items() if name.lower() in others.split()), None)
            way_out = f"Here it is `%diffuse {meant}`." if meant else did_you_mean(name, commands)
            raise ParameterError(f"`%diffuse` must be followed by a command, got {name!r}. {way_out}")
        least, what, limit = history_commands.NEEDS.get(name, (0, "", _LIMITS.get(name, 1)))
        if len(arguments) > limit:
            rule = f"followed by at most {limit} word{'' if limit == 1 else 's'}"
            raise ParameterError(breaks_rule(f"%diffuse {name}", rule, " ".join(arguments)))
        if len(arguments) < least:
            raise ParameterError(f"`%diffuse {name}` must be followed by {what}, got {' '.join(arguments)!r}.")
        answer = commands[name](*arguments)
        if isinstance(answer, str):
            display({"text/plain": answer}, raw=True)
        elif answer is not None:
            display(answer)

    def _open_panel(self, image: str | None = None) -> None:
        display(self._panels().panel(image))


def pipelines_table() -> str:
    """Return what is in memory, a line for each checkpoint."""
    from ..devices.memory import format_size

    rows = get_session().with_pipelines(lambda pipelines: pipelines.table())
    if not rows:
        return "nothing is loaded"
    lines = [("checkpoint", "size", "device", "dtype", "components", "used by", "last used")]
    lines += [
        (
            row.checkpoint,
            format_size(row.size),
            row.device,
            row.dtype,
            ", ".join(row.components),
            ", ".join(row.shared),
            time.strftime("%H:%M:%S", time.localtime(row.when)),
        )
        for row in rows
    ]
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def models_table() -> str:
    """Return every preset, a line each."""
    source = weights_source.source()
    lines: list[tuple[str, ...]] = [("model", "does", "weights", "size", *listing.HEAD, "says", "download", "memory", "licence")]
    for preset in PRESETS.values():
        origin = preset.origin(source)
        if origin is None:
            continue
        does = ", ".join(preset.tasks) if preset.scale == 1 else f"x{preset.scale}"
        numbers = listing.numbers_of(preset, origin)
        sizes = (origin.download or "-", origin.memory or "-")
        licence = "; ".join(filter(None, [origin.licence, origin.access]))
        lines.append(
            (
                preset.name,
                does,
                origin.checkpoint,
                f"{origin.native_size} px",
                *(number or "-" for number in numbers),
                preset.trigger or "-",
                *sizes,
                licence,
            )
        )
    return f"{_aligned(lines)}\n\n{listing.NOTE}"


def optimize(name: str | None = None, value: str | None = None) -> str:
    """Show the optimizations of speed and memory, or move one."""
    if name is not None:
        if value is None:
            raise ParameterError(f"`%diffuse optimize {name}` must be followed by a position, got none.")
        chosen = name, value
        get_session().with_pipelines(lambda pipelines: pipelines.set_optimization(*chosen))
    optimizations = get_session().with_pipelines(lambda pipelines: (pipelines.optimizations.table(), positions()))
    return _aligned(
        [
            ("optimization", "position", "others"),
            *((key, at, ", ".join(optimizations[1][key])) for key, at in optimizations[0].items()),
        ]
    )


def positions() -> dict[str, tuple[str, ...]]:
    """Return every optimization's positions."""
    from ..devices.optimizations import POSITIONS

    return dict(POSITIONS)


def use(source: str | None = None) -> str:
    """Choose what preset names stand for: "embedded" or "hub"."""
    if source is not None:
        weights_source.use(source)
    chosen = weights_source.source()
    meaning = {"embedded": "the small checkpoints in this package", "hub": "the originals on the hub"}[chosen]
    return f"{chosen}: model names stand for {meaning}"


def unload(name: str | None = None) -> str:
    """Drop a checkpoint, or all of them, from memory."""
    from ..devices.memory import format_size

    freed = get_session().with_pipelines(lambda pipelines: pipelines.unload(name))
    return f"{format_size(freed)} freed"


def set_budget(text: str | None = None) -> str:
    """Bound the bytes that weights take on the device; "auto" goes back to what it has free."""
    if text is None:
        raise ParameterError("`%diffuse budget` must be followed by a size, got none. Write it as `8GB`, or `auto`.")
    from ..devices.memory import format_size, parse_size

    size = None if text == "auto" else parse_size(text)
    get_session().with_pipelines(lambda pipelines: pipelines.set_budget(size))
    return "budget: what the device has free" if size is None else f"budget: {format_size(size)}"

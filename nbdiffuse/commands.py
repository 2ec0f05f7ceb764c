"""The line magic `%diffuse`: look after what stays in memory."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from .errors import ParameterError, breaks_rule, did_you_mean
from .session import get_session


@magics_class
class DiffuseCommands(Magics):
    """Commands of `%diffuse`."""

    @no_var_expand
    @line_magic
    def diffuse(self, line: str) -> None:
        """Look after the models in memory.

        %diffuse pipelines       what is loaded: size, device, dtype, components
        %diffuse unload [NAME]   drop one checkpoint, or all
        %diffuse budget 8GB      bound what weights take on the device; `auto` undoes it
        """
        words = shlex.split(line)
        commands: dict[str, Callable[..., str]] = {"pipelines": pipelines_table, "unload": unload, "budget": set_budget}
        name, *arguments = words or ["nothing"]
        if name not in commands:
            raise ParameterError(f"`%diffuse` must be followed by a command, got {name!r}. {did_you_mean(name, commands)}")
        limit = 0 if name == "pipelines" else 1
        if len(arguments) > limit:
            raise ParameterError(breaks_rule(f"%diffuse {name}", f"followed by at most {limit} word", " ".join(arguments)))
        display({"text/plain": commands[name](*arguments)}, raw=True)


def pipelines_table() -> str:
    """Return what is in memory, a line for each checkpoint."""
    from .memory import format_size

    rows = get_session().with_pipelines(lambda pipelines: pipelines.table())
    if not rows:
        return "nothing is loaded"
    lines = [("checkpoint", "size", "device", "dtype", "components")]
    lines += [(row.checkpoint, format_size(row.size), row.device, row.dtype, ", ".join(row.components)) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]) for line in lines
    )


def unload(name: str | None = None) -> str:
    """Drop a checkpoint, or all of them, from memory."""
    from .memory import format_size

    freed = get_session().with_pipelines(lambda pipelines: pipelines.unload(name))
    return f"{format_size(freed)} freed"


def set_budget(text: str | None = None) -> str:
    """Bound the bytes that weights take on the device; "auto" goes back to what it has free."""
    if text is None:
        raise ParameterError("`%diffuse budget` must be followed by a size, got none. Write it as `8GB`, or `auto`.")
    from .memory import format_size, parse_size

    size = None if text == "auto" else parse_size(text)
    get_session().with_pipelines(lambda pipelines: pipelines.set_budget(size))
    return "budget: what the device has free" if size is None else f"budget: {format_size(size)}"

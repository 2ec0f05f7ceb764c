"""Terminal: where no picture can be shown, it is written into a file, and its path is said."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ..files.atomic import write_atomic
from ..results import Result
from ..runs.grid import Grid


def in_terminal(shell: Any) -> bool:
    """Return whether a shell is IPython's in a terminal, which shows texts alone."""
    return type(shell).__name__ == "TerminalInteractiveShell"


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="nbdiffuse-"))


def written_line(made: Result | Grid, name: str | None) -> str:
    """Write what a notebook would show into a file of its own, and return a line that names it.

    Parameters
    ----------
    made
        A result, which is written with its recipe, or a grid, of which the sheet is.
    name
        The variable that holds it, if there is one.
    """
    count = sum(1 for _ in _folder().iterdir()) + 1
    file = _folder() / f"{count:03d}-{name or 'picture'}.png"
    if isinstance(made, Result):
        made.save(file)
    else:
        write_atomic(file, made.bundle()["image/png"])
    return f"A terminal shows no pictures: it is in {file}. `--save FILE.png` says where it goes."

"""Files found by their bare names: in the working directory, or in a folder that a person names once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .paths import here


def file_named(stem: str, variable: str, suffixes: str | tuple[str, ...]) -> str | None:
    """Return the file that a bare name stands for, or None where there is none.

    Parameters
    ----------
    stem
        The file's name without its suffix. It is compared with the names that are there and never becomes part of a
        path, so a stranger's text reaches no other file.
    variable
        Environment variable that may name a folder; files in its subfolders are found too.
    suffixes
        What such files end in.

    Returns
    -------
    str or None
        The name of a file in the working directory, which goes first, or a path in the folder.
    """
    beside = (file.name for file in _files(Path(), suffixes, deep=False) if file.stem == stem)
    folder = here(os.environ.get(variable) or "")
    there = (str(file) for file in _files(folder, suffixes, deep=True) if file.stem == stem) if folder else ()
    return next(iter(beside), None) or next(iter(there), None)


def _files(folder: Path, suffixes: str | tuple[str, ...], deep: bool) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(suffixes))
        if not deep:
            return

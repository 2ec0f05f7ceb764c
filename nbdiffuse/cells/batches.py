"""Many pictures in a cell: a folder, an archive, a pattern or a table in the place of one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..batches.sources import is_several
from ..batches.tables import is_table
from ..errors import ParameterError, breaks_rule
from ..files.paths import path_of
from .variables import named_value


def many_in(word: Any, table: str | None, variables: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    """Return the pictures or the table that a cell is about, or None where it is about one picture or none.

    Parameters
    ----------
    word
        What stands after the magic: a text, a picture, or None.
    table
        What `--table` says, or None.
    variables
        The notebook's, by name.

    Returns
    -------
    (images, table)
        As `batch` takes them; one of them is None.

    Raises
    ------
    ParameterError
        Both are given, or there is no such variable.
    """
    if table is not None:
        if word is not None:
            raise ParameterError(
                breaks_rule("--table", "given without a picture", word, "The table's column `image` names them.")
            )
        return None, named_value("--table", table, variables)
    if not isinstance(word, str):
        return None
    held = (variables or {}).get(word) if word.isidentifier() else None
    if held is not None:
        return (None, held) if is_table(held) else None
    if is_table(word) and Path(word).exists():
        return None, word
    return (word, None) if is_several(word) else None


def default_folder(images: Any, table: Any, task: str) -> str:
    """Return where a batch's results go when nobody says it: beside the pictures, such as "photos-img2img"."""
    named = images if isinstance(images, str) else table
    if not isinstance(named, (str, Path)):
        return f"pictures-{task}"
    path = path_of(named, "image")
    folder = path if path.is_dir() else path.with_suffix("") if path.is_file() else _above_pattern(path)
    name = folder.name or folder.resolve().name
    return str(folder.parent / f"{name or 'pictures'}-{task}") if folder.name else f"{name or 'pictures'}-{task}"


def _above_pattern(path: Path) -> Path:
    """Return the folder that a pattern such as "shots/*.png" starts from."""
    plain = [part for part in path.parent.parts if not any(mark in part for mark in "*?[")]
    return Path(*plain)

"""The function `batch`: a recipe, carried out on many pictures."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ..files.paths import path_of
from ..recipes.recipe import Recipe
from .batch import TOGETHER, Batch
from .rows import rows_of


def batch(
    recipe: Recipe,
    images: Any = None,
    *,
    table: Any = None,
    folder: str | Path,
    executor: Executor | None = None,
    on_error: str = "continue",
    together: int = TOGETHER,
    **axes: Any,
) -> Batch:
    """Redraw the pictures of a folder, an archive or a table into another folder; nothing runs before `run`.

    Parameters
    ----------
    recipe
        What is done to each; its prompt may name a table's columns, as in "a {animal} in the snow".
    images
        A folder, a .zip, a pattern such as "shots/*.png", or a list of pictures and paths.
    table
        In the place of `images`: a .csv, .tsv or .jsonl file, a `pandas.DataFrame` or a list of mappings, whose
        columns are fields of a recipe: `image`, `prompt`, `strength`, `seed`, `mask_image` and so on.
    folder
        Where results go, each named after its picture, with an `index.html` that shows them. The same call goes on
        where it stopped, and draws the seed that it drew before.
    executor
        Runs the rows instead of this process's session, a task each, see `sweep`.
    on_error
        "continue" with the other rows when one fails, or "stop".
    together
        Rows that are read and share model calls, at most, in [1, 1000]; with 1 every pixel is that of a run by itself,
        else a few may differ by 1 of 255.
    **axes
        Values that each picture is made with, by field, as for `sweep`.

    Returns
    -------
    Batch
        Call `run`.

    Raises
    ------
    ParameterError, FileError, ImageInputError
        Nothing is there, the folder has something else, or a value breaks its rule.
    """
    rows, notices = rows_of(recipe, images, table, axes)
    target = path_of(folder, "folder")
    return Batch(recipe, rows, target, executor=executor, on_error=on_error, notices=notices, together=together)

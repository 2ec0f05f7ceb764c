"""Rows: each picture of a batch, what is asked of it, and the file that its result gets."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..recipes.recipe import Recipe
from ..sweeps.axes import Axis
from . import tables
from .layout import result_files
from .sources import HeldSource, Source, sources_of

_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}")


@dataclass(frozen=True)
class Row:
    """One result of a batch.

    Parameters
    ----------
    name
        What it is called: the picture's name, with what else differs behind it.
    file
        Relative path of the result in the batch's folder, with "/" between folders.
    source
        Where the picture is; None for text-to-image.
    values
        Fields of the recipe that are this row's own.
    words
        What stands for `{column}` in the prompt.
    """

    name: str
    file: str
    source: Source | None
    values: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def recipe(self, base: Recipe) -> Recipe:
        """Read the picture and return the recipe that is run, not yet complete.

        Raises
        ------
        ImageInputError, ParameterError
            The picture cannot be read, or a value breaks its rule.
        """
        made = base.replace(**self.values)
        if self.words:
            made = made.replace(prompt=filled(made.prompt, self.words))
        return made if self.source is None else made.replace(image=self.source.read())


def filled(prompt: str, words: Mapping[str, str]) -> str:
    """Return a prompt with `{column}` replaced by what the row says there; other braces stay."""
    return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), prompt)


def rows_of(base: Recipe, images: Any, table: Any, axes: Mapping[str, Any]) -> tuple[list[Row], tuple[str, ...]]:
    """List what a batch makes.

    Parameters
    ----------
    base
        What rows have in common.
    images
        See `sources.sources_of`; None where a table names them, or none is needed.
    table
        See `tables.rows_of`; None for none.
    axes
        Values that each picture is made with, by field, as for `sweep`.

    Returns
    -------
    rows : list of Row
        In the order of the pictures, then of the values.
    notices : tuple of str
        What was left alone.

    Raises
    ------
    ParameterError, FileError
        Nothing is there, or a value breaks a rule.
    """
    if (images is None) == (table is None):
        raise ParameterError("`images` or `table` must be given, and not both. A table names its pictures in the column `image`.")
    if table is None:
        sources, notices = sources_of(images)
        rows = [Row(source.name, "", source) for source in sources]
    else:
        rows, notices = _of_table(base, table), ()
    rows = [_varied(row, chosen) for row in rows for chosen in _combinations(axes)]
    files = result_files([row.name for row in rows])
    return [dataclasses.replace(row, file=file) for row, file in zip(rows, files, strict=True)], notices


def _of_table(base: Recipe, table: Any) -> list[Row]:
    read, folder = tables.rows_of(table)
    placeholders = _PLACEHOLDER.findall(base.prompt)
    tables.check_columns(read, placeholders)
    rows = []
    for number, row in enumerate(read, 1):
        image = tables.image_of(row, folder)
        name = _name(image, number)
        source = None if image is None else _source(image, name)
        values = tables.field_values(row, folder)
        words = {column: str(row.get(column, "")) for column in placeholders}
        if "prompt" in placeholders:
            values = {column: value for column, value in values.items() if column != "prompt"}
        rows.append(Row(name, "", source, values, words))
    return rows


def _name(image: Any, number: int) -> str:
    return Path(image).name if isinstance(image, (str, Path)) else f"{number:04d}"


def _source(image: Any, name: str) -> Source:
    source = sources_of([image])[0][0]
    return HeldSource(source.picture, name) if isinstance(source, HeldSource) else source


def _combinations(axes: Mapping[str, Any]) -> list[list[tuple[str, Any, str]]]:
    """Return each choice of values, as (field, value, label)."""
    listed = []
    for name, values in axes.items():
        if name == "image":
            raise ParameterError(breaks_rule("image", "left to `images`", values))
        axis = Axis(name, values)
        listed.append([(name, value, label) for value, label in zip(axis.values, axis.labels, strict=True)])
    return [list(chosen) for chosen in itertools.product(*listed)]


def _varied(row: Row, chosen: Sequence[tuple[str, Any, str]]) -> Row:
    """Return a row with values of its own, which its name says in front of the suffix."""
    if not chosen:
        return row
    stem, dot, suffix = row.name.rpartition(".")
    said = "-".join(f"{name.replace('_', '-')}-{label}".replace("/", "-") for name, _, label in chosen)
    name = f"{stem}-{said}.{suffix}" if dot else f"{row.name}-{said}"
    return dataclasses.replace(row, name=name, values={**row.values, **{field: value for field, value, _ in chosen}})

"""Rows: each picture of a batch, what is asked of it, and the file that its result gets."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..files.paths import path_of
from ..prompts import wildcards
from ..recipes.recipe import Recipe
from ..sweeps.axes import Axis
from . import films, tables
from .following import Following
from .layout import result_files
from .prompting import CAPTION, PLACEHOLDER, Prompting, filled
from .sources import HeldSource, Source, sources_of


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
    prompting
        What else completes the prompt.
    following
        What a film's frame has of the one before it.
    """

    name: str
    file: str
    source: Source | None
    values: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    prompting: Prompting = Prompting()
    following: Following = Following()

    def template(self, base: Recipe) -> str:
        """Return the prompt before a caption or wildcards complete it."""
        return filled(str(self.values.get("prompt", base.prompt)), self.words)

    def recipe(self, base: Recipe) -> Recipe:
        """Read the picture and return the recipe that is run, not yet complete.

        Raises
        ------
        ImageInputError, ParameterError
            The picture cannot be read, or a value breaks its rule.
        """
        made = base.replace(**self.values)
        if self.source is not None:
            made = made.replace(image=self.source.read())
        return self.following.applied(self.prompting.complete(made, self.words, self.name))


def rows_of(
    base: Recipe,
    images: Any,
    table: Any,
    axes: Mapping[str, Any],
    prompts: Any = None,
    frames: Any = None,
    prompting: Prompting | None = None,
    count: int | None = None,
) -> tuple[list[Row], tuple[str, ...]]:
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
    prompts
        A text file with a prompt in each line, or a list of prompts, which each picture is made with; None for none.
    frames
        See `films.film_of`; None for all frames of a film, and for the first one of an animation.
    prompting
        What completes the prompts.
    count
        Pictures of each, whose seeds go up by one; None for one.

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
    prompting = prompting or Prompting()
    if images is not None and table is not None:
        raise ParameterError("`images` or `table` must be given, and not both. A table names its pictures in the column `image`.")
    alone = prompts is None and not axes and count is None and prompting.wildcards is None
    rows, notices = _named_rows(base, images, table, frames, alone=alone)
    in_place = "prompt" in PLACEHOLDER.findall(base.prompt)
    rows = [_prompted(row, number, text, in_place) for row in rows for number, text in enumerate(_texts(prompts), 1)]
    rows = [_varied(row, chosen) for row in rows for chosen in _combinations(axes)]
    if count is not None and count > 1:
        rows = [_counted(row, number) for row in rows for number in range(count)]
    _check_prompts(base, rows, prompting)
    rows = [row if row.name else dataclasses.replace(row, name="0001") for row in rows]
    files = result_files([row.name for row in rows])
    named = zip(rows, files, strict=True)
    return [dataclasses.replace(row, file=file, prompting=prompting) for row, file in named], notices


def _named_rows(base: Recipe, images: Any, table: Any, frames: Any, alone: bool) -> tuple[list[Row], tuple[str, ...]]:
    if frames is not None and images is None:
        raise ParameterError(breaks_rule("frames", "given with a film", frames, "Name it as `images`."))
    if frames is not None or films.is_film(images):
        film = films.film_of(images, frames)
        shots = [films.FrameSource(film, number) for number in film.chosen]
        return [Row(shot.name, "", shot) for shot in shots], ()
    if images is not None:
        sources, notices = sources_of(images)
        return [Row(source.name, "", source) for source in sources], notices
    if table is not None:
        return _of_table(base, table), ()
    if alone:
        raise ParameterError(
            "`images`, `table` or `prompts` must be given, got none. A table names its pictures in the column `image`."
        )
    return [Row("", "", None)], ()


def _texts(prompts: Any) -> list[str | None]:
    """Return the prompts that each picture is made with; None leaves the recipe's."""
    if prompts is None:
        return [None]
    if isinstance(prompts, (str, os.PathLike)):
        return list(wildcards.lines_of(path_of(prompts, "prompts"), "prompts"))
    if not isinstance(prompts, (list, tuple)) or not prompts or not all(isinstance(text, str) for text in prompts):
        raise ParameterError(breaks_rule("prompts", "a text file, or a list of texts with at least one", prompts))
    return list(prompts)


def _prompted(row: Row, number: int, text: str | None, in_place: bool) -> Row:
    """Return a row with a prompt of its own, which stands where the recipe's says `{prompt}`, else in its place."""
    if text is None:
        return row
    name = _behind(row.name, f"{number:04d}")
    if in_place:
        return dataclasses.replace(row, name=name, words={**row.words, "prompt": text})
    return dataclasses.replace(row, name=name, values={**row.values, "prompt": text})


def _check_prompts(base: Recipe, rows: Sequence[Row], prompting: Prompting) -> None:
    """Say before anything runs what a prompt names and nothing fills."""
    texts = {row.template(base) for row in rows}
    if prompting.wildcards is not None:
        negative = {str(row.values.get("negative_prompt", base.negative_prompt or "")) for row in rows}
        wildcards.check(texts | negative, prompting.wildcards)
        if not any(wildcards.names_in(text) for text in texts | negative):
            rule = "given with a prompt that names one, such as __animals__"
            raise ParameterError(breaks_rule("wildcards", rule, base.prompt, f"Known: {', '.join(prompting.wildcards)}."))
    captions = any(CAPTION in PLACEHOLDER.findall(text) for text in texts)
    if prompting.caption is not None and not captions:
        raise ParameterError("`captioner` must go with {caption} in the prompt, which has none. Write it, or leave it out.")


def _of_table(base: Recipe, table: Any) -> list[Row]:
    read, folder = tables.rows_of(table)
    placeholders = PLACEHOLDER.findall(base.prompt)
    tables.check_columns(read, placeholders)
    rows = []
    for number, row in enumerate(read, 1):
        image = tables.image_of(row, folder)
        name = _name(image, number)
        source = None if image is None else _source(image, name)
        values = tables.field_values(row, folder)
        # A caption is a captioner's where no column is called so.
        columns = [column for column in placeholders if column != CAPTION or any(CAPTION in one for one in read)]
        words = {column: str(row.get(column, "")) for column in columns}
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
    said = "-".join(f"{name.replace('_', '-')}-{label}".replace("/", "-") for name, _, label in chosen)
    return dataclasses.replace(
        row, name=_behind(row.name, said), values={**row.values, **{field: value for field, value, _ in chosen}}
    )


def _counted(row: Row, number: int) -> Row:
    """Return one of several pictures of a row, counted from 0: its seed is so much higher."""
    return dataclasses.replace(row, name=_behind(row.name, f"{number + 1:02d}"), following=Following(seeds=number))


def _behind(name: str, said: str) -> str:
    """Return a name with something more in it, in front of the suffix."""
    stem, dot, suffix = name.rpartition(".")
    # What follows a point would be taken for a suffix.
    return f"{stem}-{said}.{suffix}" if dot else "-".join(filter(None, (name, said.replace(".", "_"))))

"""Tables: a recipe's fields in the columns of a CSV, JSON Lines or pandas table, a picture in each row."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..families.parameters import Param
from ..files.paths import path_of
from ..images.picture import Picture
from ..recipes.recipe import PARAMS, shown_name

SUFFIXES = (".csv", ".tsv", ".jsonl")
LARGEST = 200_000_000
"""Bytes that a table's file may have."""


def is_table(source: Any) -> bool:
    """Tell whether a value is a table: a file's name that ends in one of `SUFFIXES`, or a pandas frame."""
    if isinstance(source, (str, Path)):
        return Path(source).suffix.lower() in SUFFIXES
    return hasattr(source, "columns") and hasattr(source, "to_dict")


def rows_of(table: Any) -> tuple[list[dict[str, Any]], Path]:
    """Read a table.

    Parameters
    ----------
    table
        A CSV, TSV (both with a heading) or JSON Lines file in UTF-8, a `pandas.DataFrame`, or a list of mappings.

    Returns
    -------
    rows : list of dict
        Values by column; empty ones are left out.
    folder : Path
        What relative paths in it start from.

    Raises
    ------
    ParameterError
        It cannot be read, or is empty.
    """
    if isinstance(table, (str, Path)):
        path = path_of(table, "table")
        rows, folder = _of_file(path), path.parent
    else:
        rows, folder = _of_value(table), Path()
    if not rows:
        raise ParameterError(breaks_rule("table", "a table with at least one row", _shown(table), "Fill it."))
    return [{str(name): value for name, value in row.items() if not _empty(value)} for row in rows], folder


def _of_file(path: Path) -> list[Mapping[str, Any]]:
    try:
        if path.stat().st_size > LARGEST:
            raise ParameterError(breaks_rule("table", f"at most {LARGEST:,} bytes", path.name, "Split it."))
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ParameterError(breaks_rule("table", "a file that can be read", path.name, f"{cause}.")) from None
    if path.suffix.lower() == ".jsonl":
        return [_of_line(line, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows: list[Mapping[str, Any]] = list(reader)
    except csv.Error as error:
        raise ParameterError(breaks_rule("table", "comma-separated values", path.name, f"{error}.")) from None
    for number, row in enumerate(rows, 2):
        if None in row:
            raise ParameterError(
                f"`table` must have no more values in a line than in its heading; line {number} of {path.name} has."
            )
    return rows


def _of_line(line: str, number: int) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ParameterError(f"`table` must be a JSON object in each line; line {number} is none.")
    return row


def _of_value(table: Any) -> list[Mapping[str, Any]]:
    rows = table.to_dict("records") if hasattr(table, "columns") else table
    if not isinstance(rows, Sequence) or isinstance(rows, (str, bytes)) or not all(isinstance(row, Mapping) for row in rows):
        way_out = "Name a .csv or .jsonl file, or give a pandas table or a list of mappings."
        raise ParameterError(breaks_rule("table", "a table", _shown(table), way_out))
    return list(rows)


def _shown(table: Any) -> Any:
    return Path(table).name if isinstance(table, (str, Path)) else type(table).__name__


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def check_columns(rows: Sequence[Mapping[str, Any]], placeholders: Sequence[str]) -> None:
    """Refuse a column that is neither a field of a recipe nor named in the prompt as `{column}`.

    Raises
    ------
    ParameterError
        The line offers the nearest field.
    """
    for name in dict.fromkeys(name for row in rows for name in row):
        if name not in PARAMS and name not in placeholders:
            near = did_you_mean(name, PARAMS)
            raise ParameterError(f"`{name}` is no field that a table's column can be. {near} A prompt may name it: {{{name}}}.")


def field_values(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields of a recipe in a row, numbers read from text, and files from where the table is.

    Raises
    ------
    ParameterError, FileError
        A value breaks its field's rule.
    """
    return {shown_name(name): _field(name, value, folder) for name, value in row.items() if name in PARAMS and name != "image"}


def _field(name: str, value: Any, folder: Path) -> Any:
    param: Param = PARAMS[name]
    if param.kind is Picture and isinstance(value, str) and not param.is_word(value) and ":" not in value:
        return folder / path_of(value, name)
    if isinstance(value, str) and param.kind in (int, float):
        return _number(name, value, param)
    if isinstance(value, float) and param.kind is int and value.is_integer():
        return int(value)  # pandas has no whole numbers in a column with gaps
    return value


def _number(name: str, text: str, param: Param) -> Any:
    try:
        return int(text) if param.kind is int else float(text)
    except ValueError:
        raise ParameterError(breaks_rule(name, param.rule, text)) from None


def image_of(row: Mapping[str, Any], folder: Path) -> Any:
    """Return the picture of a row: a path from where the table is, or what the row holds; None for none.

    Raises
    ------
    FileError
        It is no path.
    """
    value = row.get("image")
    if not isinstance(value, str) or value.startswith(("sha256:", "example:")):
        return value
    return folder / path_of(value, "image")

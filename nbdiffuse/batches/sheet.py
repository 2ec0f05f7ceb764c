"""Sheet of a batch: its first pictures before and after, in a cell, and the page of all in its folder."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FileError, NbdiffuseError
from ..files.atomic import write_atomic
from ..files.targets import shown_path
from ..images.contact_sheets import Cell, captioned, contact_sheet, png_bytes
from ..images.picture import Picture
from .outcome import Outcome
from .page import page
from .rows import Row

PAGE = "index.html"
SHOWN = 4
"""Pairs of pictures that a cell shows."""


def bundle(rows: Sequence[Row], outcomes: Mapping[int, Outcome], folder: Path, text: str) -> dict[str, Any]:
    """Return what a notebook shows of a batch.

    Parameters
    ----------
    rows, outcomes, folder
        Of the batch.
    text
        What stands for it where no picture is shown.
    """
    cells = [cell for place in sorted(outcomes)[: 4 * SHOWN] for cell in _pair(rows[place], outcomes[place], folder)][: 2 * SHOWN]
    shown: dict[str, Any] = {"text/plain": text}
    if cells:
        sheet = contact_sheet(cells, columns=4, side=160)
        line = f"{len(cells) // 2} of {len(rows)}, before and after; all are on {folder.as_posix()}/{PAGE}"
        shown["image/png"] = png_bytes(captioned(sheet, line))
    return shown


def _pair(row: Row, outcome: Outcome, folder: Path) -> list[Cell]:
    if outcome.state == "failed":
        return []
    try:
        after = Picture.of(folder / row.file).image
    except NbdiffuseError:  # it was moved meanwhile
        return []
    before = Image.open(io.BytesIO(outcome.before)).convert("RGB") if outcome.before else None
    return [Cell(before, row.name), Cell(after, "redrawn" if before else row.file)]


def save_page(
    rows: Sequence[Row],
    outcomes: Mapping[int, Outcome],
    folder: Path,
    notices: Sequence[str],
    text: str,
    measures: Mapping[int, Mapping[str, float]] | None = None,
) -> Path:
    """Write `index.html` into a batch's folder; parameters as for `bundle` and `page`, `text` its heading.

    Raises
    ------
    FileError
        It cannot be written.
    """
    try:
        write_atomic(folder / PAGE, page(text, rows, outcomes, notices, measures).encode("utf-8", "replace"))
    except OSError as error:
        raise FileError(f"{shown_path(folder / PAGE)} cannot be written: {error.strerror or error}.") from None
    return folder / PAGE

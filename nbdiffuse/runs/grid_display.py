"""Grid display: a sweep's results as a contact sheet in a cell, and as a folder of pictures with a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FileError
from ..files.atomic import write_atomic
from ..files.paths import without_folders
from ..files.targets import made_folder
from ..images.gallery import page
from ..images.sheets import SheetCell, Table, passing_sheet_png, sheet_png
from ..recipes.noise_start import share_text
from ..recipes.portable import portable
from ..recipes.steps import start_noise
from ..results import Result
from ..sweeps.axes import Axis
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from ..sweeps.tables import coordinates_text, differences_text, tables_of
from .outcomes import FailedCell, Outcomes


def sheet(sweep: Sweep, outcomes: Outcomes) -> bytes:
    """Draw the finished cells of a sweep as a contact sheet.

    Returns
    -------
    bytes
        A PNG of at most `sheets.MOST_BYTES`, see `sheets.sheet_png`.
    """
    return sheet_png(tables(sweep, outcomes), initial_picture(sweep))


def passing_sheet(sweep: Sweep, outcomes: Outcomes, line: str) -> bytes:
    """Draw what is there of a sweep that is still running, see `sheets.passing_sheet_png`."""
    return passing_sheet_png(tables(sweep, outcomes), initial_picture(sweep), line)


def save(title: str, sweep: Sweep, outcomes: Outcomes, folder: Path, notices: Sequence[str] = ()) -> Path:
    """Write full-size pictures and `index.html`; see `Grid.save`."""
    made_folder(folder)
    try:
        for group in sweep.distinct():
            outcome = outcomes.outcomes.get(group[0].picture_key)
            if isinstance(outcome, Result):
                outcome.save(folder / _file(group[0]))
        # A picture that was carried over may have text in its name that is not Unicode.
        said = [without_folders(line) for line in notices]
        content = page(title, tables(sweep, outcomes, shared=True), initial_picture(sweep), said)
        write_atomic(folder / "index.html", content.encode("utf-8", "replace"))
    except OSError as error:
        raise FileError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder / "index.html"


def tables(sweep: Sweep, outcomes: Outcomes, shared: bool = False) -> list[Table]:
    """Lay out the cells of a sweep in tables; what is `shared` leaves this machine, so errors name no folders."""
    return tables_of(_with_shares(sweep), lambda cell: _spot(sweep, outcomes, cell, shared))


@dataclass(frozen=True)
class _LabelledAxis:
    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class _Labelled:
    axes: tuple[Any, ...]
    sweep: Sweep

    def cells(self) -> tuple[SweepCell, ...]:
        return self.sweep.cells()


def _with_shares(sweep: Sweep) -> _Labelled:
    """Put the share of noise beside each strength of an axis, where all its cells begin with the same."""
    return _Labelled(tuple(_with_share(sweep, axis) if axis.name == "strength" else axis for axis in sweep.axes), sweep)


def _with_share(sweep: Sweep, axis: Axis) -> _LabelledAxis:
    shares: dict[Any, set[str]] = {}
    for cell in sweep.cells():
        share = start_noise(cell.recipe)
        shares.setdefault(dict(cell.coordinates)["strength"], set()).add("" if share is None else share_text(share))
    told = [f"noise {min(found)}" if len(found) == 1 and found != {""} else "" for found in map(shares.__getitem__, axis.values)]
    labels = tuple(f"{label}  {text}".rstrip() for label, text in zip(axis.labels, told, strict=True))
    return _LabelledAxis(axis.name, axis.values, labels)


def _spot(sweep: Sweep, outcomes: Outcomes, cell: SweepCell, shared: bool) -> SheetCell:
    outcome, first = outcomes.outcomes.get(cell.picture_key), sweep.group_of(cell)[0]
    label = coordinates_text(sweep, cell)
    details = json.dumps(portable(cell.recipe).to_dict(), indent=2, ensure_ascii=False)
    if isinstance(outcome, Result):
        note = "" if cell is first else f"= {differences_text(sweep, cell, first)}"
        return SheetCell(outcome.image, note, label, _file(first), details)
    progress = outcomes.running.get(cell.picture_key)
    return SheetCell(progress.preview if progress else None, _state(cell, outcomes, outcome, shared), label, None, details)


def _state(cell: SweepCell, outcomes: Outcomes, outcome: FailedCell | None, shared: bool) -> str:
    if outcome is not None and shared:
        return f"{type(outcome.error).__name__}: {without_folders(str(outcome.error))}"
    if outcome is not None:
        return f"{type(outcome.error).__name__}: {outcome.error}"
    if cell.picture_key not in outcomes.running:
        return "not run"
    progress = outcomes.running[cell.picture_key]
    return f"step {progress.step} of {progress.steps}" if progress else "starting"


def initial_picture(sweep: Sweep) -> Image.Image | None:
    """Return the initial picture that all cells share, RGB, or None."""
    picture = sweep.base.image
    varies = any(axis.name == "image" for axis in sweep.axes)
    return None if picture is None or varies else picture.image


def _file(cell: SweepCell) -> str:
    return f"cell-{cell.index:03d}.png"

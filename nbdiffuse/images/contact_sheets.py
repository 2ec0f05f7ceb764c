"""Contact sheets: labelled pictures side by side, readable on light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw

from .text import SIZE, wrapped, write

FRAME = (128, 128, 128, 90)
GAP = 12
LINE = 17
COLUMNS = 5
"""Pictures in a row of a strip."""


@dataclass(frozen=True)
class Cell:
    """One place of a sheet.

    Parameters
    ----------
    image
        RGB picture of any size, or None for an empty frame.
    label
        What stands under it, in one line or several; long lines are cut with an ellipsis.
    progress
        Share of the run that is done, in [0, 1], drawn as a bar at the foot of
        the picture; None draws none.
    """

    image: Image.Image | None
    label: str
    progress: float | None = None


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Scale a picture so that its longer side has `side` pixels."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def contact_sheet(cells: Sequence[Cell], columns: int | None = None, side: int = 256) -> Image.Image:
    """Draw labelled pictures in a grid.

    Parameters
    ----------
    cells
        Row by row; at least one.
    columns
        Cells in a row, at least 1; all of them in one row when not given.
    side
        Longer side of each picture on the sheet, in pixels, at least 32.

    Returns
    -------
    The sheet, RGBA on a transparent ground.
    """
    columns = columns or len(cells)
    rows = -(-len(cells) // columns)
    shown = [cell.image and enlarged(cell.image, side) for cell in cells]
    width = max([picture.width for picture in shown if picture] or [side])
    height = max([picture.height for picture in shown if picture] or [side])
    foot = 12 + max(len(cell.label.splitlines()) or 1 for cell in cells) * LINE - (LINE - SIZE)
    sheet = Image.new("RGBA", (columns * (width + GAP) - GAP, rows * (height + foot) + (rows - 1) * GAP), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    for index, (cell, picture) in enumerate(zip(cells, shown, strict=True)):
        left, top = index % columns * (width + GAP), index // columns * (height + foot + GAP)
        if picture is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), outline=FRAME)
        else:
            sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        if cell.progress is not None:
            _bar(draw, left, top + height - 6, width, cell.progress)
        for number, line in enumerate(cell.label.splitlines()):
            write(draw, (left, top + height + 5 + number * LINE), line, width)
    return sheet


def _bar(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, progress: float) -> None:
    draw.rectangle((left, top, left + width - 1, top + 5), fill=(90, 90, 90, 255))
    done = round((width - 1) * min(1.0, max(0.0, progress)))
    if done:
        draw.rectangle((left, top, left + done, top + 5), fill=(45, 140, 240, 255))


def png_bytes(image: Image.Image, passing: bool = False) -> bytes:
    """Encode a picture as PNG, in memory.

    Parameters
    ----------
    image
        Of any mode that PNG has.
    passing
        Whether it is replaced within a second: then quickly rather than small.
    """
    buffer = io.BytesIO()
    # Level 9, which is also what `optimize` means, takes seven times as long as level 6 for 4 % fewer bytes.
    image.save(buffer, "PNG", compress_level=1 if passing else 6)
    return buffer.getvalue()


def noted(bundle: dict[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """Return what a notebook shows of a picture, with lines of text below the picture and behind its own text."""
    if not lines:
        return bundle
    text = "\n".join([bundle["text/plain"], *lines])
    if "image/png" not in bundle:
        return {**bundle, "text/plain": text}
    sheet = Image.open(io.BytesIO(bundle["image/png"]))
    width = max(sheet.width, 480)
    shown = [part for line in lines for part in wrapped(line, width, SIZE, 4)]
    taller = Image.new("RGBA", (width, sheet.height + GAP + len(shown) * LINE), (0, 0, 0, 0))
    taller.paste(sheet, (0, 0))
    for number, line in enumerate(shown):
        write(ImageDraw.Draw(taller), (0, sheet.height + GAP + number * LINE), line, width)
    return {**bundle, "image/png": png_bytes(taller), "text/plain": text}


def captioned(sheet: Image.Image, line: str) -> Image.Image:
    """Return a sheet with a line of text above it."""
    width = max(sheet.width, 480)
    taller = Image.new("RGBA", (width, sheet.height + SIZE + GAP), (0, 0, 0, 0))
    taller.paste(sheet, (0, SIZE + GAP))
    write(ImageDraw.Draw(taller), (0, 0), line, width)
    return taller

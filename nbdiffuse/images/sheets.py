"""Sheets with axes: tables of pictures whose rows and columns say what they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .contact_sheets import FRAME, captioned, enlarged, png_bytes
from .text import font, wrapped, write

GAP = 4
LINE = 19
"""Height of a line of text, in pixels."""
WIDEST = 1100
"""Width that a notebook shows without scaling, in pixels."""
LARGEST, SMALLEST = 256, 24
"""Longer side of a picture on a sheet, in pixels."""
MOST_BYTES = 740_000
"""Size of a sheet's PNG at the most; a notebook stores it as text, a third larger, in at most 1 MB."""
_HEADER = 150
_BADGE_GROUND = (32, 32, 32, 255)
_BADGE_INK = (255, 255, 255, 255)


@dataclass(frozen=True)
class SheetCell:
    """One picture of a table.

    Parameters
    ----------
    image
        RGB, any size, or None for an empty frame.
    note
        A few words in the picture's corner, such as "= 0.4" or an error.
    label
        What it stands for, where pictures cannot be seen.
    file
        Name of the full-size file, or None.
    details
        Text that unfolds on a page, such as all parameters.
    """

    image: Image.Image | None
    note: str = ""
    label: str = ""
    file: str | None = None
    details: str = ""


@dataclass(frozen=True)
class Table:
    """Pictures in rows and columns.

    Parameters
    ----------
    cells
        Row by row.
    columns
        Header of each column; at least one.
    rows
        Header of each row, or nothing for one row without a header.
    across, down
        What the columns and the rows stand for.
    title
        What the whole table stands for.
    """

    cells: tuple[SheetCell, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...] = ()
    across: str = ""
    down: str = ""
    title: str = ""


def fitting_side(tables: Sequence[Table], most_bytes: int, beside: int | None = None) -> int:
    """Return the longer side in pixels at which a sheet is neither too wide nor too heavy; parameters as for `sheet_png`."""
    columns = max(len(table.columns) for table in tables) + 1
    by_width = WIDEST / columns - GAP
    if beside:
        headers = max(map(_first_column, tables)) + 5 * GAP
        by_width = (WIDEST - beside * headers) / (beside * (columns - 1) + 1) - GAP
    count = sum(len(table.cells) for table in tables) + 1
    # A photograph takes about 2 bytes a pixel as PNG.
    by_weight = math.sqrt(most_bytes / (2 * count))
    # Several tables are compared with one another: smaller, two of them fit on a line.
    largest = 0.6 * LARGEST if any(table.title for table in tables) else LARGEST
    return int(max(SMALLEST, min(largest, by_width, by_weight)))


def sheet_png(
    tables: Sequence[Table], initial: Image.Image | None = None, most_bytes: int = MOST_BYTES, beside: int | None = None
) -> bytes:
    """Draw tables, as small as their weight asks for.

    Parameters
    ----------
    tables
        At least one.
    initial
        RGB picture that is shown once, at the top left.
    most_bytes
        Largest size of the PNG in bytes, unless pictures would fall below 24 pixels.
    beside
        Tables on a line, at least 1; as many as fit when not given.

    Returns
    -------
    bytes
        A PNG, RGBA on a transparent ground, readable on light and dark pages.
    """
    side = fitting_side(tables, most_bytes, beside)
    content = png_bytes(axis_sheet(tables, initial, side, beside))
    while len(content) > most_bytes and side > SMALLEST:
        side = max(SMALLEST, int(side * min(0.9, math.sqrt(most_bytes / len(content)))))
        content = png_bytes(axis_sheet(tables, initial, side, beside))
    return content


def passing_sheet_png(tables: Sequence[Table], initial: Image.Image | None, line: str) -> bytes:
    """Draw tables that are still filling in, with a line of text above them; quickly rather than small.

    Parameters
    ----------
    tables, initial
        As for `sheet_png`.
    line
        What is told of all of them.
    """
    sheet = axis_sheet(tables, initial, fitting_side(tables, MOST_BYTES))
    return png_bytes(captioned(sheet, line), passing=True)


def axis_sheet(
    tables: Sequence[Table], initial: Image.Image | None = None, side: int = 128, beside: int | None = None
) -> Image.Image:
    """Draw tables beside one another while they fit, then below.

    Parameters
    ----------
    tables
        At least one.
    initial
        RGB picture that is shown once, at the top left, or None.
    side
        Longer side of each picture, in [24, 256] pixels.
    beside
        Tables on a line, at least 1; as many as fit when not given.

    Returns
    -------
    PIL.Image.Image
        RGBA on a transparent ground.
    """
    shown = [sheet_cell.image.size for table in tables for sheet_cell in table.cells if sheet_cell.image]
    sizes = [_scaled(size, side) for size in shown + ([initial.size] if initial else [])] or [(side, side)]
    box = max(width for width, _ in sizes), max(height for _, height in sizes)
    left = box[0] + 3 * GAP if initial else 0
    drawn = [_table(table, box, side) for table in tables]
    places, (width, height) = _flowed([picture.size for picture in drawn], WIDEST - left, beside)
    sheet = Image.new("RGBA", (left + width, max(height, box[1] + LINE) if initial else height), (0, 0, 0, 0))
    if initial:
        sheet.paste(enlarged(initial, side), (0, LINE))
        write(ImageDraw.Draw(sheet), (0, 1), "initial image", box[0])
    for picture, (right, down) in zip(drawn, places, strict=True):
        sheet.paste(picture, (left + right, down))
    return sheet


def _flowed(sizes: Sequence[tuple[int, int]], room: int, beside: int | None) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Place boxes beside one another, so many or while they fit; return their corners and the size of it all."""
    places = []
    left = top = widest = lowest = 0
    for index, (width, height) in enumerate(sizes):
        if left and (index % beside == 0 if beside else left + width > room):
            left, top = 0, lowest + 3 * GAP
        places.append((left, top))
        widest, lowest = max(widest, left + width), max(lowest, top + height)
        left += width + 5 * GAP
    return places, (widest, lowest)


def _scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _table(table: Table, box: tuple[int, int], side: int) -> Image.Image:
    width, height = box
    first = _first_column(table)
    title = LINE if table.title else 0
    axis = LINE if table.across else 0
    top = title + axis + LINE
    columns, rows = len(table.columns), max(1, len(table.rows))
    picture = Image.new("RGBA", (first + columns * (width + GAP) - GAP, top + rows * (height + GAP) - GAP), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    write(draw, (0, 1), table.title, picture.width)
    write(draw, (first, title + 1), table.across, picture.width - first)
    write(draw, (0, title + axis + 1), table.down, first - GAP)
    for index, header in enumerate(table.columns):
        write(draw, (first + index * (width + GAP), title + axis + 1), header, width)
    for index, header in enumerate(table.rows):
        write(draw, (0, top + index * (height + GAP) + (height - LINE) // 2 + 1), header, first - GAP)
    for index, sheet_cell in enumerate(table.cells):
        corner = first + index % columns * (width + GAP), top + index // columns * (height + GAP)
        _cell(picture, draw, sheet_cell, corner, box, side)
    return picture


def _first_column(table: Table) -> int:
    """Return the width of the column that names the rows, in pixels."""
    headers = max([font().getlength(text) for text in (*table.rows, table.down)])
    return min(_HEADER, math.ceil(headers)) + 2 * GAP if table.rows else 0


def _cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, sheet_cell: SheetCell, corner: tuple[int, int], box: tuple[int, int], side: int
) -> None:
    (left, top), (width, height) = corner, box
    if sheet_cell.image is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=FRAME)
    else:
        picture = enlarged(sheet_cell.image, side)
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    if sheet_cell.note:
        size = 11 if width >= 64 else 9
        # A picture keeps most of its place; where there is none, an error may take all of it.
        most = 1 if sheet_cell.image else max(1, (height - 6) // (size + 3))
        lines = wrapped(sheet_cell.note, width - 6, size, most)
        bottom, widest = top + height, max(map(font(size).getlength, lines))
        upper = bottom - len(lines) * (size + 3) - 3
        draw.rectangle((left, upper, left + widest + 5, bottom - 1), fill=_BADGE_GROUND)
        for index, line in enumerate(lines):
            draw.text((left + 3, upper + 2 + index * (size + 3)), line, font=font(size), fill=_BADGE_INK)

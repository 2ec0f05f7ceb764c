"""Sheets with axes: tables of pictures whose rows and columns say what they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from .contact_sheets import FRAME, INK, enlarged, png_bytes

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
class Spot:
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
    spots
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

    spots: tuple[Spot, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...] = ()
    across: str = ""
    down: str = ""
    title: str = ""


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def fitting_side(tables: Sequence[Table], most_bytes: int, beside: int | None = None) -> int:
    """Return the longer side in pixels at which a sheet is neither too wide nor too heavy; parameters as for `sheet_png`."""
    columns = max(len(table.columns) for table in tables) + 1
    by_width = WIDEST / columns - GAP
    if beside:
        headers = max(map(_first_column, tables)) + 5 * GAP
        by_width = (WIDEST - beside * headers) / (beside * (columns - 1) + 1) - GAP
    count = sum(len(table.spots) for table in tables) + 1
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
    shown = [spot.image.size for table in tables for spot in table.spots if spot.image]
    sizes = [_scaled(size, side) for size in shown + ([initial.size] if initial else [])] or [(side, side)]
    box = max(width for width, _ in sizes), max(height for _, height in sizes)
    left = box[0] + 3 * GAP if initial else 0
    drawn = [_table(table, box, side) for table in tables]
    places, (width, height) = _flowed([picture.size for picture in drawn], WIDEST - left, beside)
    sheet = Image.new("RGBA", (left + width, max(height, box[1] + LINE) if initial else height), (0, 0, 0, 0))
    if initial:
        sheet.paste(enlarged(initial, side), (0, LINE))
        _text(ImageDraw.Draw(sheet), (0, 0), "initial image", box[0])
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
    _text(draw, (0, 0), table.title, picture.width)
    _text(draw, (first, title), table.across, picture.width - first)
    _text(draw, (0, title + axis), table.down, first - GAP)
    for index, header in enumerate(table.columns):
        _text(draw, (first + index * (width + GAP), title + axis), header, width)
    for index, header in enumerate(table.rows):
        _text(draw, (0, top + index * (height + GAP) + (height - LINE) // 2), header, first - GAP)
    for index, spot in enumerate(table.spots):
        corner = first + index % columns * (width + GAP), top + index // columns * (height + GAP)
        _spot(picture, draw, spot, corner, box, side)
    return picture


def _first_column(table: Table) -> int:
    """Return the width of the column that names the rows, in pixels."""
    headers = max([_font(13).getlength(text) for text in (*table.rows, table.down)])
    return min(_HEADER, math.ceil(headers)) + 2 * GAP if table.rows else 0


def _spot(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, spot: Spot, corner: tuple[int, int], box: tuple[int, int], side: int
) -> None:
    (left, top), (width, height) = corner, box
    if spot.image is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=FRAME)
    else:
        picture = enlarged(spot.image, side)
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    if spot.note:
        size = 11 if width >= 64 else 9
        # A picture keeps most of its place; where there is none, an error may take all of it.
        most = 1 if spot.image else max(1, (height - 6) // (size + 3))
        lines = _wrapped(spot.note, width - 6, size, most)
        bottom, widest = top + height, max(map(_font(size).getlength, lines))
        upper = bottom - len(lines) * (size + 3) - 3
        draw.rectangle((left, upper, left + widest + 5, bottom - 1), fill=_BADGE_GROUND)
        for index, line in enumerate(lines):
            draw.text((left + 3, upper + 2 + index * (size + 3)), line, font=_font(size), fill=_BADGE_INK)


def _text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width: int) -> None:
    if text:
        draw.text((at[0], at[1] + 1), _shortened(text, width, 13), font=_font(13), fill=INK)


def _wrapped(text: str, width: float, size: int, most: int) -> list[str]:
    """Break text into so many lines at most; the last one is cut with an ellipsis."""
    font, lines, words = _font(size), [""], text[:500].split()
    for index, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            if len(lines) == most:
                lines[-1] = " ".join([lines[-1], *words[index:]])
                break
            longer = word
            lines.append("")
        lines[-1] = longer
    return [_shortened(line, width, size) for line in lines]


def _shortened(text: str, width: float, size: int) -> str:
    font = _font(size)
    text = " ".join(text[:200].split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""

"""A page of pictures in tables that works without a kernel: plain HTML, everything inside."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from .contact_sheets import enlarged
from .sheets import SheetCell, Table

THUMBNAIL = 256
"""Longer side of a picture on the page, in pixels; smaller ones stay as they are."""
_STYLE = """
:root { color-scheme: light dark; font: 14px system-ui, sans-serif; }
body { margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th { font-weight: 500; padding: 4px 8px; max-width: 14em; overflow-wrap: anywhere; }
th[scope=row] { text-align: right; }
td { padding: 2px; vertical-align: top; }
img { display: block; max-width: 256px; height: auto; }
small, .note { opacity: .7; max-width: 256px; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 80em; }
"""


def page(title: str, tables: Sequence[Table], initial: Image.Image | None = None, notices: Sequence[str] = ()) -> str:
    """Compose the page.

    Parameters
    ----------
    title
        Heading; like every text here it is shown as typed, whatever it holds.
    tables
        One below the other.
    initial
        RGB picture that is shown once, above them, or None.
    notices
        Lines that a person should read, above the tables.

    Returns
    -------
    str
        HTML 5 without scripts and without links to anything but the pictures' files.
    """
    first = f"<figure>{_image(initial, 'initial image')}<figcaption>initial image</figcaption></figure>" if initial else ""
    said = "".join(f"<p>{_text(line)}</p>" for line in notices)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{_text(title)}</h1>{said}{first}{''.join(map(_table, tables))}</body></html>\n"
    )


def _table(table: Table) -> str:
    corner = f"<th>{_text(table.down)}</th>" if table.rows else ""
    across = f'{"<td></td>" if table.rows else ""}<th colspan="{len(table.columns)}">{_text(table.across)}</th>'
    header = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.columns)
    lines = [f"<tr>{across}</tr>", f"<tr>{corner}{header}</tr>"]
    for index in range(max(1, len(table.rows))):
        row = f'<th scope="row">{_text(table.rows[index])}</th>' if table.rows else ""
        shown = table.cells[index * len(table.columns) : (index + 1) * len(table.columns)]
        lines.append(f"<tr>{row}{''.join(f'<td>{_cell(each)}</td>' for each in shown)}</tr>")
    title = f"<h2>{_text(table.title)}</h2>" if table.title else ""
    return f"{title}<table>{''.join(lines)}</table>"


def _cell(cell: SheetCell) -> str:
    picture = _image(cell.image, cell.label)
    if cell.file and picture:
        picture = f'<a href="{_text(cell.file)}">{picture}</a>'
    note = f'<div class="note">{_text(cell.note)}</div>' if cell.note else ""
    details = f"<details><summary>parameters</summary><pre>{_text(cell.details)}</pre></details>" if cell.details else ""
    return picture + note + details


def _image(image: Image.Image | None, caption: str) -> str:
    if image is None:
        return ""
    small = enlarged(image, THUMBNAIL) if max(image.size) > THUMBNAIL else image
    buffer = io.BytesIO()
    small.convert("RGB").save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{_text(caption)}" width="{small.width}" height="{small.height}">'


def _text(text: str) -> str:
    # HTML knows no NUL, and a lone carriage return would be read as a line break.
    return html.escape(text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r", "\n"), quote=True)

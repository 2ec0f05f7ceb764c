"""A row of pictures with numbers below, as HTML in the colours of the page it stands in."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from PIL import Image

from .contact_sheets import enlarged, png_bytes

SIDE = 256
"""Longer side of a picture that is shown, in pixels."""
_FRAME = "border:1px solid rgba(128,128,128,.45);border-radius:3px;display:block"
_CELL = "text-align:left;vertical-align:top;padding:.25em .7em;background:none;border:0;overflow-wrap:anywhere"
_RULED = f"{_CELL};border-bottom:1px solid rgba(128,128,128,.3)"


def rows_html(
    pictures: Sequence[tuple[str, str, Image.Image]], numbers: Sequence[tuple[str, str, str]], foot: str = "", side: int = SIDE
) -> str:
    """Compose HTML without scripts.

    Parameters
    ----------
    pictures
        A title, what people who do not see it are told, and the RGB picture of each.
    numbers
        Name, value and meaning of each.
    foot
        What stands below them, in lines.
    side
        Longer side of each picture, in pixels.
    """
    titles = "".join(f"<th scope='col' style='{_CELL}'>{_text(title)}</th>" for title, _, _ in pictures)
    shown = "".join(f"<td style='{_CELL}'>{_picture(image, told, side)}</td>" for _, told, image in pictures)
    rows = "".join(
        f"<tr><th scope='row' style='{_RULED}'>{_text(name)}</th><td style='{_RULED}'>{_text(value)}</td>"
        f"<td style='{_RULED};opacity:.75'>{_text(says)}</td></tr>"
        for name, value, says in numbers
    )
    lines = "".join(f"<div style='opacity:.75'>{_text(line)}</div>" for line in foot.splitlines())
    return (
        "<div style='overflow-x:auto'>"
        f"<table style='border-collapse:collapse'><tr>{titles}</tr><tr>{shown}</tr></table>"
        f"<table style='border-collapse:collapse'>{rows}</table>{lines}</div>"
    )


def _picture(image: Image.Image, told: str, side: int) -> str:
    small = enlarged(image, side)
    # Twice as many pixels as the page shows, for sharp screens; never more than the picture has.
    data = base64.b64encode(png_bytes(enlarged(image, min(2 * side, max(image.size))))).decode()
    size = f'width="{small.width}" height="{small.height}"'
    return f'<img alt="{_text(told)}" style="{_FRAME}" {size} src="data:image/png;base64,{data}">'


def _text(text: str) -> str:
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return html.escape(clean, quote=True)

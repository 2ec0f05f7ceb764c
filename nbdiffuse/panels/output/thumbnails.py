"""Thumbnails: pictures encoded for the page, small enough for the message limits of Jupyter servers."""

from __future__ import annotations

import io

from PIL import Image

EXACT = 40_000
"""Pixels up to which a picture is sent as it is."""


def encoded(image: Image.Image | None, side: int) -> bytes:
    """Encode a picture for the page.

    Parameters
    ----------
    image
        RGB, or None.
    side
        Longer side, at most, in pixels.

    Returns
    -------
    bytes
        PNG where the picture is small, else JPEG of quality 90; empty for None.
    """
    if image is None:
        return b""
    small = image
    if max(image.size) > side:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if small.width * small.height <= EXACT:
        small.save(buffer, "PNG")
    else:
        small.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def encoded_sheet(png: bytes, side: int = 1600) -> bytes:
    """Encode a contact sheet, which is transparent between its pictures, as WebP of quality 85."""
    sheet = Image.open(io.BytesIO(png))
    sheet.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()

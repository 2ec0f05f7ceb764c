"""Text on sheets: Pillow's own font, cut or broken to the room there is."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

INK = (128, 128, 128, 255)
"""Grey that keeps a contrast of about 4 on white and on near-black pages."""
SIZE = 13
"""Of text below, above and beside pictures, in pixels."""


@cache
def font(size: int = SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of a size in pixels."""
    return ImageFont.load_default(size)


def write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width: float) -> None:
    """Write one line, cut to a width in pixels, with its upper left corner at a place."""
    if text:
        draw.text(at, shortened(text, width), font=font(), fill=INK)


def shortened(text: str, width: float, size: int = SIZE) -> str:
    """Cut a line with an ellipsis where it is wider than `width` pixels; several lines become one."""
    text = " ".join(text[:200].expandtabs(1).splitlines())
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


def wrapped(text: str, width: float, size: int, most: int) -> list[str]:
    """Break text into so many lines at most; the last one is cut with an ellipsis."""
    lines, words = [""], text[:500].split()
    for index, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            if len(lines) == most:
                lines[-1] = " ".join([lines[-1], *words[index:]])
                break
            longer = word
            lines.append("")
        lines[-1] = longer
    return [shortened(line, width, size) for line in lines]

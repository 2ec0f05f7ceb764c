"""A plot of two numbers of several things, drawn with Pillow, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw

from .contact_sheets import FRAME
from .text import INK, SIZE, font, shortened, write

Span: TypeAlias = tuple[float, float]
WIDTH, HEIGHT = 720, 420
"""Of the plot, in pixels."""
_LEFT, _BELOW, _ABOVE, _RIGHT = 64, 44, 24, 24
_BEST, _OTHER = (230, 120, 20, 255), (128, 128, 128, 255)


@dataclass(frozen=True)
class Dot:
    """One point of a plot.

    Parameters
    ----------
    across, up
        Its two numbers.
    label
        What it stands for; shown beside it where it is among the best.
    best
        Whether no other point beats it in both numbers.
    """

    across: float
    up: float
    label: str
    best: bool


def scatter(dots: Sequence[Dot], across: str, up: str) -> Image.Image:
    """Draw points, the best ones in orange, labelled, and joined by a line.

    Parameters
    ----------
    dots
        At least one.
    across, up
        What the two numbers are.

    Returns
    -------
    RGBA on a transparent ground.
    """
    plot = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw = ImageDraw.Draw(plot)
    spans = _span([dot.across for dot in dots]), _span([dot.up for dot in dots])
    box = _LEFT, _ABOVE, WIDTH - _RIGHT, HEIGHT - _BELOW
    draw.rectangle(box, outline=FRAME)
    write(draw, (_LEFT, HEIGHT - SIZE - 4), f"across: {across}", WIDTH - _LEFT)
    write(draw, (0, 2), f"up: {up}", WIDTH)
    for share in (0.0, 0.5, 1.0):
        right, top = (low + share * (high - low) for low, high in spans)
        x, y = box[0] + share * (box[2] - box[0]), box[3] - share * (box[3] - box[1])
        draw.text((x, box[3] + 6), f"{right:.2f}", font=font(), fill=INK, anchor="ma")
        draw.text((box[0] - 6, y), f"{top:.2f}", font=font(), fill=INK, anchor="rm")
    places = [_place(dot, spans, box) for dot in dots]
    best = sorted(place for place, dot in zip(places, dots, strict=True) if dot.best)
    if len(best) > 1:
        draw.line(best, fill=(*_BEST[:3], 140), width=2)
    # The best ones last, so that no other covers them.
    taken: list[tuple[float, float]] = []
    for (x, y), dot in sorted(zip(places, dots, strict=True), key=lambda pair: pair[1].best):
        size = 6 if dot.best else 4
        draw.ellipse((x - size, y - size, x + size, y + size), fill=_BEST if dot.best else _OTHER)
        if dot.best:
            text = shortened(dot.label, WIDTH / 2)
            left = min(x - size, WIDTH - 4 - font().getlength(text))
            top = _free(left, y - size - SIZE - 4, taken)
            taken.append((left, top))
            write(draw, (round(left), round(top)), text, WIDTH)
    return plot


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return a little more than what the values span."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _place(dot: Dot, spans: tuple[Span, Span], box: tuple[int, int, int, int]) -> tuple[float, float]:
    (left, right), (low, high) = spans
    x = box[0] + (dot.across - left) / (right - left) * (box[2] - box[0])
    return x, box[3] - (dot.up - low) / (high - low) * (box[3] - box[1])


def _free(x: float, y: float, taken: Sequence[tuple[float, float]]) -> float:
    """Return a height near by at which a label covers no other one."""
    while any(abs(x - left) < WIDTH / 3 and abs(y - top) < SIZE + 2 for left, top in taken):
        y -= SIZE + 2
    return y

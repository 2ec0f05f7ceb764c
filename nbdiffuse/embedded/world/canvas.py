"""A drawing surface in unit coordinates that paints a scene as a picture, as depth or as a mask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]
Layer = Literal["image", "depth", "mask"]

SUPERSAMPLING = 3


class Canvas:
    """Paint shapes given in unit coordinates: x to the right, y down, both in [0, 1].

    One drawing routine serves every layer: the same calls paint colours, depth
    (near is bright, as ControlNet expects) or a mask of some parts, so the layers
    agree to the pixel. What is painted belongs to the part that `part` names.

    Parameters
    ----------
    size
        Side of the finished picture, in pixels, at least 8.
    layer
        What the calls paint.
    masked
        Parts that a mask shows.
    """

    def __init__(self, size: int, layer: Layer = "image", masked: Collection[str] = ("subject",)) -> None:
        self.size = size
        self.layer = layer
        self.masked = frozenset(masked)
        side = size * SUPERSAMPLING
        self._picture = Image.new("RGB" if layer == "image" else "L", (side, side))
        self._draw = ImageDraw.Draw(self._picture)
        self._origin: Point = (0.0, 0.0)
        self._scale = 1.0
        self._mirror = 1.0
        self.depth = 0
        self.part = ""

    def place(self, x: float, y: float, scale: float, mirror: bool = False) -> None:
        """Let later shapes stand at `(x, y)`: their unit is `scale`, their y grows upwards."""
        self._origin, self._scale, self._mirror = (x, y), scale, -1.0 if mirror else 1.0
        self._upwards = True

    _upwards = False

    def _pixels(self, points: list[Point]) -> list[Point]:
        side = self._picture.width
        if not self._upwards:
            return [(x * side, y * side) for x, y in points]
        x0, y0 = self._origin
        return [((x0 + x * self._scale * self._mirror) * side, (y0 - y * self._scale) * side) for x, y in points]

    def _ink(self, color: Color) -> Color | int:
        if self.layer == "image":
            return color
        if self.layer == "depth":
            return self.depth
        return 255 if self.part in self.masked else 0

    def polygon(self, points: list[Point], color: Color) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._pixels(points), fill=self._ink(color))

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """Fill an ellipse by its centre and radii."""
        (x0, y0), (x1, y1) = self._pixels([(x - rx, y - ry), (x + rx, y + ry)])
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        self._draw.ellipse(box, fill=self._ink(color))

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, radius: float = 0.0) -> None:
        """Fill a rectangle by two opposite corners; `radius` rounds them."""
        (a0, b0), (a1, b1) = self._pixels([(x0, y0), (x1, y1)])
        unit = self._scale * self._picture.width if self._upwards else self._picture.width
        box = (min(a0, a1), min(b0, b1), max(a0, a1), max(b0, b1))
        self._draw.rounded_rectangle(box, radius=radius * unit, fill=self._ink(color))

    def line(self, points: list[Point], width: float, color: Color) -> None:
        """Draw a line with round joints."""
        unit = self._scale * self._picture.width if self._upwards else self._picture.width
        self._draw.line(self._pixels(points), fill=self._ink(color), width=max(1, round(width * unit)), joint="curve")

    def gradient(self, y0: float, y1: float, top: Color, bottom: Color, near: int | None = None) -> None:
        """Fill the full width between two heights, from `top` to `bottom`; depth runs from the current one to `near`."""
        side = self._picture.width
        start, stop = max(0, round(y0 * side)), min(side, round(y1 * side))
        if stop <= start:
            return
        if self.layer == "image":
            ends = np.array([top, bottom], float)
        else:
            value = self.depth if self.layer == "depth" else 255 if self.part in self.masked else 0
            ends = np.array([[value], [near if near is not None and self.layer == "depth" else value]], float)
        weight = np.linspace(0, 1, stop - start)[:, None]
        column = (ends[0] * (1 - weight) + ends[1] * weight).round().astype(np.uint8)
        strip = np.repeat(column[:, None], side, axis=1)
        self._picture.paste(Image.fromarray(strip if self.layer == "image" else strip[..., 0]), (0, start))

    def finish(self) -> Image.Image:
        """Return the picture at its final size."""
        return self._picture.reduce(SUPERSAMPLING)

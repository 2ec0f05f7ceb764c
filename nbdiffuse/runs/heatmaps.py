"""Heat maps: a sweep's pictures, and beside them the value of a metric for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..images.metrics import Metric
from ..images.sheets import SheetCell, sheet_png
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from ..sweeps.tables import coordinates_text, tables_of
from .grid_display import initial_picture, tables
from .outcomes import Outcomes

VIRIDIS = (0x440154, 0x482878, 0x3E4989, 0x31688E, 0x26828E, 0x1F9E89, 0x35B779, 0x6ECE58, 0xB5DE2B, 0xFDE725)
"""Colours from low to high that look evenly spaced, in grey too. Source: matplotlib's colour map viridis."""
TILE = 256
"""Side of a tile before it is scaled, in pixels."""


@dataclass(frozen=True, eq=False)
class Heatmap:
    """The values of a metric over a sweep, shown beside the pictures.

    Parameters
    ----------
    sweep, outcomes
        What was run, and what came of it.
    metric
        What was measured.
    values
        Value by `SweepCell.picture_key`; cells that are not finished have none.
    """

    sweep: Sweep
    outcomes: Outcomes
    metric: Metric
    values: Mapping[str, float]

    def __repr__(self) -> str:
        # No numbers: notebooks then compare equal on every checkpoint.
        axes = " x ".join(axis.name for axis in self.sweep.axes) or "one cell"
        return f"heat map of {self.metric.name}: {axes}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/png": self.png(), "text/plain": repr(self)}

    def png(self) -> bytes:
        """Draw pictures and tiles; a PNG of at most `sheets.MOST_BYTES`, readable on light and dark pages."""
        low, high = min(self.values.values()), max(self.values.values())
        name, direction = self.metric.name, "higher" if self.metric.higher_is_better else "lower"
        heat = tables_of(self.sweep, lambda cell: self._tile(cell, low, high))
        drawn = []
        for pictures, tiles in zip(tables(self.sweep, self.outcomes), heat, strict=True):
            title = f"{name}, {tiles.title}" if tiles.title else f"{name} ({direction} is better): {self.metric.says}"
            drawn += [dataclasses.replace(pictures, title=pictures.title or " "), dataclasses.replace(tiles, title=title)]
        return sheet_png(drawn, initial_picture(self.sweep), beside=2)

    def _tile(self, cell: SweepCell, low: float, high: float) -> SheetCell:
        label = coordinates_text(self.sweep, cell)
        value = self.values.get(cell.picture_key)
        if value is None:
            return SheetCell(None, "not measured", label)
        best = high if self.metric.higher_is_better else low
        share = (value - low) / (high - low) if high > low else 0.5
        return SheetCell(_tile(value, share, 3 if high - low < 0.05 else 2), "best" if value == best else "", label)


def _tile(value: float, share: float, digits: int) -> Image.Image:
    color = _color(share)
    tile = Image.new("RGB", (TILE, TILE), color)
    red, green, blue = color
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "white"
    text, font = f"{value:.{digits}f}", ImageFont.load_default(80)
    ImageDraw.Draw(tile).text((TILE / 2, TILE / 2), text, font=font, fill=ink, anchor="mm")
    return tile


def _color(share: float) -> tuple[int, int, int]:
    """Return a colour of the map for a place in [0, 1]."""
    place = share * (len(VIRIDIS) - 1)
    index = min(int(place), len(VIRIDIS) - 2)
    below, above = (VIRIDIS[each].to_bytes(3, "big") for each in (index, index + 1))
    red, green, blue = (round(one + (two - one) * (place - index)) for one, two in zip(below, above, strict=True))
    return red, green, blue

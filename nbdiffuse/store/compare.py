"""Comparisons: which parameters of two pictures differ, and how far apart the pixels are."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..families.parameters import number_text
from ..images import metrics
from ..images.latents import Latents
from ..images.picture import Picture
from ..metadata.imported import visible
from ..recipes.recipe import Recipe
from .lineage import thumbnail_html

SIDE = 256
"""Longer side of a picture that is shown, in pixels."""


@dataclass(frozen=True)
class Distance:
    """How far apart two pictures of one size are.

    Parameters
    ----------
    largest
        Largest difference of a channel of a pixel, in [0, 255].
    mean
        Mean difference, in [0, 255].
    ssim
        Structural similarity, in [-1, 1], 1 for equal pictures; None where scikit-image
        is not installed.
    """

    largest: int
    mean: float
    ssim: float | None = None

    def __str__(self) -> str:
        likeness = "" if self.ssim is None else f", SSIM {self.ssim:.4f}"
        return f"largest difference {self.largest}, mean {self.mean:.3g}{likeness}"


def distance(first: Image.Image, second: Image.Image) -> Distance | None:
    """Measure how far apart two RGB pictures are; None where their sizes differ."""
    if first.size != second.size:
        return None
    gap = np.abs(np.asarray(first, dtype=np.int16) - np.asarray(second, dtype=np.int16))
    largest = int(gap.max())
    if importlib.util.find_spec("skimage") is None:
        return Distance(largest, float(gap.mean()))
    return Distance(largest, float(gap.mean()), metrics.ssim(first, second) if largest else 1.0)


@dataclass(frozen=True)
class Side:
    """One of two that are compared.

    Parameters
    ----------
    name
        What a person called it.
    recipe
        What made it.
    fingerprint
        What else can change its pixels, by name.
    image
        RGB.
    """

    name: str
    recipe: Recipe
    fingerprint: Mapping[str, str]
    image: Image.Image


@dataclass(frozen=True)
class Comparison:
    """Two pictures side by side, and the parameters in which they differ."""

    first: Side
    second: Side

    @property
    def differences(self) -> tuple[tuple[str, str, str], ...]:
        """Name and both values of each parameter that differs, then of each part of the fingerprint."""
        recipes = self.first.recipe, self.second.recipe
        names = dict.fromkeys(name for recipe in recipes for name in recipe.values())
        named = [(name, *(recipe.get(name) for recipe in recipes)) for name in names]
        rows = [(name, _text(one), _text(other)) for name, one, other in named if one != other]
        prints = self.first.fingerprint, self.second.fingerprint
        return (*rows, *changed(*prints))

    def __repr__(self) -> str:
        rows = [("", self.first.name, self.second.name), *self.differences]
        rows = rows if len(rows) > 1 else [*rows, ("no parameter differs", "", "")]
        cut = [tuple(_cut(visible(part)) for part in row) for row in rows]
        widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
        lines = ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in cut]
        return "\n".join([*lines, self._distance_line()])

    def _distance_line(self) -> str:
        apart = distance(self.first.image, self.second.image)
        if apart is None:
            return f"sizes differ: {_size(self.first.image)} and {_size(self.second.image)}"
        return "the pixels are identical" if apart.largest == 0 else str(apart)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts, in the colours of the page it stands in."""
        pictures = "".join(f"<td style='{_CELL}'>{thumbnail_html(side.image, SIDE)}</td>" for side in (self.first, self.second))
        heads = "".join(f"<th style='{_CELL}'>{_escaped(side.name)}</th>" for side in (self.first, self.second))
        rows = "".join(
            f"<tr><th style='{_CELL}'>{_escaped(name)}</th><td style='{_CELL}'>{_escaped(one)}</td>"
            f"<td style='{_CELL}'>{_escaped(other)}</td></tr>"
            for name, one, other in self.differences
        )
        rows = rows or f"<tr><td style='{_CELL}' colspan='3'>no parameter differs</td></tr>"
        table = f"<tr><th style='{_CELL}'></th>{heads}</tr><tr><th style='{_CELL}'></th>{pictures}</tr>{rows}"
        foot = f"<div style='opacity:.75'>{_escaped(self._distance_line())}</div>"
        return f"<div style='overflow-x:auto'><table style='border-collapse:collapse'>{table}</table>{foot}</div>"


_CELL = (
    "text-align:left;vertical-align:top;padding:.25em .7em;max-width:26em;overflow-wrap:anywhere;white-space:pre-wrap;"
    "background:none;border:0;border-bottom:1px solid rgba(128,128,128,.3)"
)


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Return name and both values of what differs between two fingerprints; "-" stands for what one does not have."""
    names = [*then, *(name for name in now if name not in then)]
    return tuple((name, then.get(name, "-"), now.get(name, "-")) for name in names if then.get(name) != now.get(name))


def _text(value: Any) -> str:
    if isinstance(value, (Picture, Latents)):
        return f"{value.label or 'picture'} {value.address.rpartition(':')[2][:12]}".strip()
    return "-" if value is None else number_text(value) if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _escaped(text: str) -> str:
    lines = text.splitlines() or [""]
    return html.escape("\n".join(map(visible, lines)), quote=True)


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"

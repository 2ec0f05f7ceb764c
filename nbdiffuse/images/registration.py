"""Registration: by how much a picture was moved, zoomed and turned against the one that it was made from."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .alignment import STILL, Array, Similarity, agreement, brought_back, detail, refined

COARSE, FINE = 128, 384
"""Longer side in pixels at which a picture is looked for, and at which its place is measured."""
SURE = 0.8
"""Share of details that agree from which no other place is tried."""
LIKELY = 0.55
"""Share of details that agree below which many zooms and turns are tried."""
LEAST = 0.45
"""Share of details that have to agree for a move to be believed."""
GAIN = 0.25
"""Share of the disagreement that a move has to take away to be believed."""
ZOOMS, TURNS = (0.86, 0.9, 0.95, 1.0, 1.05, 1.1, 1.16), (-6.0, -3.0, 0.0, 3.0, 6.0)
"""What is tried where nothing likely is found; turns in degrees."""
PEAKS, TRIED = 4, 4
"""How many peaks of a correlation are looked at, and how many places are refined."""
FAINTEST = 0.1
"""Strength of a detail below which a picture is all of one colour."""
NOTED = 0.004
"""Part of the longer side by which pixels have to be away from their place, on average, to be worth a notice."""


@dataclass(frozen=True)
class Registration:
    """By how much a picture lies elsewhere than the one that it was made from.

    Parameters
    ----------
    right, down
        How far its centre was moved, in its own pixels; negative to the left and up.
    zoom
        How much larger everything is, about the centre: 1.03 is 3 % larger.
    rotation
        By how many degrees it is turned about the centre, clockwise.
    size
        Its width and height in pixels.
    agreement
        Share of the initial picture's details that it has there, in [0, 1].
    """

    right: float
    down: float
    zoom: float
    rotation: float
    size: tuple[int, int]
    agreement: float

    @property
    def shift(self) -> float:
        """How far pixels are from their places in pixels: the root of the mean square over the picture, at least 0."""
        turned = self.zoom * complex(math.cos(math.radians(self.rotation)), math.sin(math.radians(self.rotation))) - 1
        width, height = self.size
        return math.sqrt(self.right**2 + self.down**2 + abs(turned) ** 2 * (width**2 + height**2) / 12)

    @property
    def worth_a_notice(self) -> bool:
        """Whether a person should know of it."""
        return self.shift > NOTED * max(self.size)

    def __str__(self) -> str:
        parts = [_pixels(self.right, "right", "left"), _pixels(self.down, "down", "up")]
        moved = "moved " + " and ".join(part for part in parts if part) if any(parts) else ""
        zoomed = f"zoom {self.zoom:.3g}" if abs(self.zoom - 1) >= 0.005 else ""
        way = "clockwise" if self.rotation > 0 else "counter-clockwise"
        turned = f"turned {abs(self.rotation):.1f}° {way}" if abs(self.rotation) >= 0.1 else ""
        return ", ".join(part for part in (moved, zoomed, turned) if part) or "not moved"


def _pixels(value: float, forward: str, back: str) -> str:
    size = f"{abs(value):.0f}" if abs(value) >= 9.95 else f"{abs(value):.1f}"
    return f"{size} px {forward if value > 0 else back}" if abs(value) >= 0.25 else ""


def register(initial: Image.Image, image: Image.Image) -> Registration:
    """Measure by how much a picture lies elsewhere than the one that it was made from.

    Parameters
    ----------
    initial, image
        RGB; the initial picture is taken at the size of the other.

    Returns
    -------
    Not moved at all where no move explains the picture plainly better, as where an edit changed most of it.

    Raises
    ------
    ModuleNotFoundError
        scikit-image or scipy is not installed, see `metrics.Metric.require`.

    Notes
    -----
    Places to start from are found by phase correlation, of the pictures and of their spectra on log-polar axes;
    then the picture is moved until its details lie on those of the other. Source: Reddy and Chatterji, An FFT-Based
    Technique for Translation, Rotation, and Scale-Invariant Image Registration, 1996.
    """
    size = _within(image.size, COARSE)
    first, second = detail(initial, size), detail(image, size)
    if min(np.abs(first).max(), np.abs(second).max()) < FAINTEST:
        return Registration(0.0, 0.0, 1.0, 0.0, image.size, 0.0)
    where = _best(first, second)
    fine = _within(image.size, FINE)
    if fine != size:
        first, second = detail(initial, fine), detail(image, fine)
        where = refined(first, second, _scaled(where, fine[0] / size[0]), 12)
    moved, still = agreement(first, second, where), agreement(first, second, STILL)
    if moved < LEAST or moved - still < GAIN * (1 - still):
        return Registration(0.0, 0.0, 1.0, 0.0, image.size, still)
    a, b, x, y = _scaled(where, image.width / fine[0])
    return Registration(float(x), float(y), math.hypot(a, b), math.degrees(math.atan2(b, a)), image.size, moved)


def registered(image: Image.Image, initial: Image.Image, found: Registration) -> Image.Image:
    """Bring a picture back to where the one was that it was made from.

    Parameters
    ----------
    image, initial
        RGB, of one size.
    found
        From `register`.

    Returns
    -------
    RGB, of that size: by cubic splines; what lay beyond the border is the initial picture's.
    """
    angle = math.radians(found.rotation)
    where = np.array([found.zoom * math.cos(angle), found.zoom * math.sin(angle), found.right, found.down])
    given, own = np.asarray(image.convert("RGB"), np.float64), np.asarray(initial.convert("RGB"))
    back = np.stack([brought_back(given[..., channel], where, order=3) for channel in range(3)], axis=-1)
    return Image.fromarray(np.where(np.isnan(back), own, back.clip(0, 255).round()).astype(np.uint8))


def _best(first: Array, second: Array) -> Similarity:
    tried = [refined(first, second, STILL, 8)]
    if agreement(first, second, tried[0]) < SURE:
        tried += _likeliest(first, second, _correlated(first, second))
    if max(agreement(first, second, place) for place in tried) < LIKELY:
        tried += _likeliest(first, second, [(zoom, turn) for zoom in ZOOMS for turn in TURNS])
    return max(tried, key=lambda place: agreement(first, second, place))


def _correlated(first: Array, second: Array) -> list[tuple[float, float]]:
    """Return the zooms and turns, in degrees, that the phase correlation of the spectra on log-polar axes names."""
    correlation = importlib.import_module("skimage.registration").phase_cross_correlation
    polar = importlib.import_module("skimage.transform").warp_polar
    window = _window(first)
    side = max(first.shape)

    def spectrum(detail: Array) -> Array:
        strength = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(detail * window, (side, side)))))
        unrolled = polar(strength, radius=side // 2, output_shape=(360, side), scaling="log", order=1)[:180]
        centred: Array = unrolled - unrolled.mean(0)
        return centred

    found, spectra = [(1.0, 0.0)], (spectrum(first), spectrum(second))
    for normalization in ("phase", None):
        turn, wider = correlation(*spectra, upsample_factor=10, normalization=normalization)[0]
        turn, zoom = (turn + 90) % 180 - 90, math.exp(wider * math.log(side // 2) / side)
        if abs(turn) < 20 and 0.75 < zoom < 1.33:
            found.append((zoom, -turn))
    return found


def _likeliest(first: Array, second: Array, turned: Sequence[tuple[float, float]]) -> list[Similarity]:
    """Return the most likely of the places with some zooms and turns, in degrees, each moved until the details meet."""
    window = _window(first)
    own = np.fft.rfft2(first * window).conj()
    places = [place for zoom, turn in turned for place in _moved(own, second, window, zoom, turn)]
    best = sorted(places, key=lambda place: -agreement(first, second, place))[:TRIED]
    return [refined(first, second, place, 8) for place in best]


def _moved(own: Array, second: Array, window: Array, zoom: float, turn: float) -> list[Similarity]:
    """Return the places at one zoom and turn where the pictures correlate most, by their phases alone and by all."""
    turned = zoom * complex(math.cos(math.radians(turn)), math.sin(math.radians(turn)))
    there = np.nan_to_num(brought_back(second, np.array([turned.real, turned.imag, 0, 0])))
    product = np.fft.rfft2(there * window) * own
    places = []
    for weights, count in ((np.abs(product) + 1e-3 * np.abs(product).max(), PEAKS), (1.0, 1)):
        for down, right in _peaks(np.fft.irfft2(product / weights, second.shape), count):
            moved = turned * complex(right, down)
            places.append(np.array([turned.real, turned.imag, moved.real, moved.imag]))
    return places


def _peaks(correlation: Array, count: int) -> list[tuple[int, int]]:
    """Return the shifts, down and right, at which a correlation is highest; neighbours of one are left out."""
    height, width = correlation.shape
    rolled, found = np.roll(correlation, (height // 2, width // 2), (0, 1)), []
    for _ in range(count):
        row, column = divmod(int(rolled.argmax()), width)
        found.append((row - height // 2, column - width // 2))
        rolled[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = -np.inf
    return found


def _window(detail: Array) -> Array:
    return np.outer(np.hanning(detail.shape[0]), np.hanning(detail.shape[1]))


def _within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(16, round(size[0] * scale)), max(16, round(size[1] * scale))


def _scaled(where: Similarity, scale: float) -> Similarity:
    return where * np.array([1, 1, scale, scale])

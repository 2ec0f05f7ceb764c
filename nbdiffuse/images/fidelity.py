"""Fidelity: what of a picture a run changed, how much of it, and by how far the colours of the rest drifted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from .alignment import STILL, agreement_map, detail
from .colors import lab
from .mask_shapes import grown
from .picture_rows import rows_html
from .registration import Registration, register
from .tints import tinted

Array = np.ndarray[Any, Any]
CHANGED = 10.0
"""Distance of two colours in CIELAB (ΔE 1976) from which a pixel counts as changed; what a VAE loses stays below."""
TINTED = 25.0
"""Distance of two colours up to which a tint of the whole picture is told by `drift`; from there on it is a change."""
COARSE = 2.0
"""Standard deviation, in pixels, of what colours are compared over, too: JPEG and VAEs keep them less finely than lightness."""
BORDER = 8
"""Pixels around a mask that may change: a latent is as wide, and most masks are soft."""
_ORANGE, _BLUE = (230, 120, 20), (40, 90, 220)
_ALIKE = 0.6
"""Share of the details around a pixel that have to be there for it to be of what stayed."""
_MUCH = 0.2
"""Part of a picture from which what did not change is what stayed."""
_FEW = 0.02
"""Part of a picture below which what stayed says nothing of its colours."""


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What a run changed of the picture that it started from.

    Parameters
    ----------
    initial, image
        RGB, of one size.
    changed
        Where the two differ as people see it: bool, of shape (height, width).
    allowed
        Where they may differ, alike: the mask; without one, what the run changed most.
    asked
        Whether `allowed` was said, by a mask or a region.
    drift
        By how far the colours of what stayed are off: the median ΔE 1976, at least 0. About 2 can be seen.
    registration
        By how much the picture lies elsewhere.
    identity
        Cosine of the embeddings that a CLIP has of the two pictures, in [-1, 1]; None where it was not asked.
    notices
        What could not be measured, and why.
    """

    initial: Image.Image
    image: Image.Image
    changed: Array
    allowed: Array
    asked: bool
    drift: float
    registration: Registration
    identity: float | None = None
    notices: tuple[str, ...] = ()

    @property
    def kept(self) -> float:
        """Share of what should stay that did, in [0, 1]: of all outside the mask, and without one of the whole picture."""
        return kept_of(self.changed, self.allowed if self.asked else None)

    @property
    def outside(self) -> float:
        """Share of the change that lies outside of where it was allowed, in [0, 1]; 0 where nothing changed."""
        return float((self.changed & ~self.allowed).sum() / self.changed.sum()) if self.changed.any() else 0.0

    @property
    def shift(self) -> float:
        """How far pixels are from their places, see `Registration.shift`."""
        return self.registration.shift

    @property
    def map_image(self) -> Image.Image:
        """The map of changes, RGB: the picture in pale grey, orange where it changed, and blue where it should not have."""
        pale = 255 - (255 - np.asarray(self.image.convert("L"), np.float32)[..., None].repeat(3, -1)) * 0.6
        pale[self.changed] = pale[self.changed] * 0.25 + np.array(_ORANGE) * 0.75
        beside = self.changed & ~self.allowed
        pale[beside] = np.asarray(self.image.convert("L"), np.float32)[beside][:, None] * 0.25 + np.array(_BLUE) * 0.75
        return Image.fromarray(pale.round().astype(np.uint8))

    @property
    def numbers(self) -> tuple[tuple[str, str, str], ...]:
        """Name, value and meaning of each number, for people."""
        part = "of what lies outside the mask is as it was" if self.asked else "of the picture is as it was"
        where = "outside the mask" if self.asked else "away from its largest part"
        rows = (
            ("kept", f"{self.kept:.0%}", part),
            ("outside", f"{self.outside:.0%}", f"of the change lies {where}"),
            ("shift", f"{self.shift:.1f} px", str(self.registration)),
            ("drift", f"{self.drift:.1f}", "ΔE by which the colours of what stayed are off; about 2 can be seen"),
        )
        same = (
            ()
            if self.identity is None
            else (("identity", f"{self.identity:.2f}", "likeness of what is shown, by a CLIP; 1 is the same"),)
        )
        return (*rows, *same)

    def __repr__(self) -> str:
        # No numbers: notebooks then compare equal on every checkpoint; `print` has them.
        return f"comparison: {', '.join(name for name, _, _ in self.numbers)}"

    def __str__(self) -> str:
        lines = [f"{name:<9}{value:>8}  {says}" for name, value, says in self.numbers]
        return "\n".join([*lines, *self.notices])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts: the two pictures, the map and the numbers, in the colours of the page it stands in."""
        told = f"map of what changed: {self.changed.mean():.0%} of the picture, {self.outside:.0%} of that where it should not"
        pictures = (
            ("initial picture", "the initial picture", self.initial),
            ("result", "the result", self.image),
            ("what changed", told, self.map_image),
        )
        legend = "" if self.outside < 0.005 else "orange: changed; blue: changed where it should not have\n"
        return rows_html(pictures, self.numbers, legend + "\n".join(self.notices))


def compare(initial: Image.Image, image: Image.Image, mask: Image.Image | None = None) -> Fidelity:
    """Measure what a run changed of the picture that it started from.

    Parameters
    ----------
    initial, image
        RGB; the initial picture is taken at the size of the other.
    mask
        L, brought to that size: from 128 on the picture may change.

    Raises
    ------
    ModuleNotFoundError
        scikit-image or scipy is not installed, see `metrics.Metric.require`.
    """
    initial, image = sized(initial, image), image.convert("RGB")
    changed = change_map(initial, image)
    allowed = largest_part(changed) if mask is None else may_change(mask, image.size)
    return Fidelity(initial, image, changed, allowed, mask is not None, drift(initial, image, mask), register(initial, image))


def change_map(initial: Image.Image, image: Image.Image) -> Array:
    """Tell for each pixel whether two RGB pictures of one size differ there as people see it: bool, (height, width).

    A tint that all of the picture has, up to `TINTED`, is no change: `drift` tells it. Pixels count where their colours
    differ both by themselves and with those around them, so that what JPEG does to the colours of fine details does not.
    """
    first, second = map(_colors, (_in_its_tint(initial, image), image))
    apart = [np.sqrt(((one - other) ** 2).sum(-1)) for one, other in zip(first, second, strict=True)]
    changed: Array = np.minimum(*apart) > CHANGED
    return changed


def _in_its_tint(initial: Image.Image, image: Image.Image) -> Image.Image:
    off = tinted(initial, image)
    return off if off is not initial and np.median(delta_e(initial, off)) <= TINTED else initial


def _colors(picture: Image.Image) -> tuple[Array, Array]:
    """Return a picture in CIELAB without specks, and with a and b as they are around each pixel: (height, width, 3)."""
    fine, raw = lab(picture.filter(ImageFilter.MedianFilter(3))), lab(picture)
    coarse = fine.copy()
    for channel in (1, 2):
        coarse[..., channel] = _blurred(raw[..., channel])
    return fine, coarse


def _blurred(values: Array) -> Array:
    """Return values as they are around each pixel, by a Gaussian of `COARSE`; without scipy, which `kept` does not need."""
    reach = round(4 * COARSE)
    weights = np.exp(-((np.arange(-reach, reach + 1) / COARSE) ** 2) / 2)
    for _ in range(2):
        padded, height = np.pad(values, ((reach, reach), (0, 0)), mode="edge"), len(values)
        values = sum(weight * padded[row : row + height] for row, weight in enumerate(weights / weights.sum())).T
    return values


def delta_e(initial: Image.Image, image: Image.Image) -> Array:
    """Return how far the colours of two RGB pictures of one size are apart (ΔE 1976), without specks: (height, width)."""
    first, second = (lab(picture.filter(ImageFilter.MedianFilter(3))) for picture in (initial, image))
    apart: Array = np.sqrt(((first - second) ** 2).sum(-1))
    return apart


def kept_of(changed: Array, allowed: Array | None = None) -> float:
    """Return the share that did not change of what lies outside of where it may change; 1 where there is nothing outside."""
    outside = np.ones_like(changed) if allowed is None else ~allowed
    return float(1 - changed[outside].mean()) if outside.any() else 1.0


def kept(initial: Image.Image, image: Image.Image, mask: Image.Image | None = None) -> float:
    """Return the share of what should stay that did, see `Fidelity.kept`; parameters as for `compare`."""
    return kept_of(change_map(sized(initial, image), image), None if mask is None else may_change(mask, image.size))


def drift(initial: Image.Image, image: Image.Image, mask: Image.Image | None = None) -> float:
    """Return by how far the colours of what stayed are off, see `Fidelity.drift`; parameters as for `compare`."""
    initial = sized(initial, image)
    return float(np.median(delta_e(initial, image)[stayed(initial, image, mask)]))


def shift(initial: Image.Image, image: Image.Image, mask: Image.Image | None = None) -> float:
    """Return how far a picture's pixels are from their places, see `Registration.shift`; parameters as for `compare`."""
    return register(sized(initial, image), image).shift


def stayed(initial: Image.Image, image: Image.Image, mask: Image.Image | None = None) -> Array:
    """Tell for each pixel whether it is of what should stay, whatever its colours became: bool, (height, width).

    That is all outside a mask. Without one, and where the mask leaves nothing, it is what did not change, a tint of all of
    it put aside; where hardly anything is left of that, where details of the initial picture are still there; else all.
    """
    outside = np.ones(image.size[::-1], bool) if mask is None else ~may_change(mask, image.size)
    if mask is not None and outside.mean() > _FEW:
        return outside
    same = ~change_map(initial, image)
    if same.mean() > _MUCH:
        return same
    alike = recognised(initial, image)
    return alike if alike.mean() > _FEW else np.ones_like(alike)


def recognised(initial: Image.Image, image: Image.Image) -> Array:
    """Tell for each pixel of two RGB pictures of one size whether the details around it are the same: bool, (height, width)."""
    first, second = (detail(picture, image.size) for picture in (initial, image))
    return agreement_map(first, second, STILL, max(4.0, max(image.size) / 32)) > _ALIKE


def may_change(mask: Image.Image, size: tuple[int, int]) -> Array:
    """Tell for each pixel of a picture of some size whether a mask, its soft border counted, lets it change: (height, width)."""
    grey = mask.convert("L")
    fitting = grey if grey.size == size else grey.resize(size, Image.Resampling.BILINEAR)
    white = fitting.point(lambda value: 255 if value >= 128 else 0)
    return np.asarray(grown(white, BORDER)) >= 128


def largest_part(changed: Array) -> Array:
    """Return where most of a change is: its largest connected part, with what that encloses: bool, (height, width)."""
    ndimage = importlib.import_module("scipy.ndimage")
    parts, count = ndimage.label(ndimage.binary_dilation(changed, iterations=2))
    if not count:
        return np.zeros_like(changed)
    found: Array = ndimage.binary_fill_holes(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    return found


def sized(initial: Image.Image, image: Image.Image) -> Image.Image:
    """Return the initial picture as RGB of the other one's size."""
    fitting = initial if initial.size == image.size else initial.resize(image.size, Image.Resampling.BICUBIC)
    return fitting.convert("RGB")


MEASURES: Mapping[str, Callable[[Image.Image, Image.Image, Image.Image | None], float]] = MappingProxyType(
    {"kept": kept, "shift": shift, "drift": drift}
)
"""Metrics of this module, by name, each of an initial picture, what was made of it, and where it may change."""

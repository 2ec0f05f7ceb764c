"""Metrics: numbers that say how near a picture stays to its initial one, and how well it fits its prompt."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from ..errors import NbdiffuseError, ParameterError, breaks_rule, did_you_mean
from . import mask_shapes

TOLERANCE = 0.0075
"""How far apart two edges may be and still agree, as a part of the picture's diagonal; as in the BSDS benchmark."""
BESIDE = 8
"""Pixels on both sides of a mask's border whose differences the border's own is compared with."""
SMALLEST_SIDE = 11
"""Side of the window that SSIM compares, in pixels."""


@dataclass(frozen=True)
class Metric:
    """One number for a picture.

    Parameters
    ----------
    name
        What Python calls it.
    says
        What it measures, for people.
    higher_is_better
        Which end is the better one.
    needs_initial
        Whether it compares with an initial picture.
    needs_mask
        Whether it looks at where a mask ends.
    needs_film
        Whether it compares frames of a film with those before them.
    libraries
        Modules that must be installed.
    install
        What installs them, for `pip install`.
    """

    name: str
    says: str
    higher_is_better: bool = True
    needs_initial: bool = True
    needs_mask: bool = False
    needs_film: bool = False
    libraries: tuple[str, ...] = ()
    install: str = ""

    def require(self) -> None:
        """Raise `NbdiffuseError` where a library is missing that this metric needs."""
        missing = [name for name in self.libraries if importlib.util.find_spec(name) is None]
        if missing:
            line = f"`{self.name}` needs {SPOKEN.get(missing[0], missing[0])}, which is not installed."
            raise NbdiffuseError(f"{line} Run `pip install {self.install}`, or measure `prompt_score`.")


SPOKEN = {"skimage": "scikit-image"}
"""What people call a module."""
_DRAWN, _EXTRA = ("skimage", "scipy"), '"nbdiffuse[metrics]"'
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("ssim", "likeness to the initial picture", libraries=_DRAWN, install=_EXTRA),
            Metric("structure", "edges kept from the initial picture", libraries=_DRAWN, install=_EXTRA),
            Metric("lpips", "distance from the initial picture as people see it", False, libraries=("lpips",), install="lpips"),
            Metric("prompt_score", "how well the picture fits the prompt", needs_initial=False),
            Metric("kept", "share of the picture, or of what lies outside the mask, that is as it was"),
            Metric("shift", "pixels by which the picture was moved, zoomed or turned", False, libraries=_DRAWN, install=_EXTRA),
            Metric("drift", "how far the colours of what stayed are off (ΔE)", False, libraries=_DRAWN, install=_EXTRA),
            Metric("identity", "how far it still shows the same, by a CLIP"),
            Metric("seam", "how much the border of the mask shows: about 1 where it does not", False, False, needs_mask=True),
            Metric("noise_share", "share of noise that the run began with", False),
            Metric("flicker", "change from the frame before, of 255, beside that of the film's source", False, needs_film=True),
        )
    }
)
"""Every metric, by name."""


def metric_of(name: str) -> Metric:
    """Return a metric, or raise `ParameterError` with the nearest name."""
    if name not in METRICS:
        known = ", ".join(METRICS)
        raise ParameterError(breaks_rule("metric", f"one of {known}", name, did_you_mean(str(name), METRICS)))
    return METRICS[name]


def ssim(initial: Image.Image, image: Image.Image) -> float:
    """Compare two pictures by structural similarity.

    Parameters
    ----------
    initial, image
        RGB; the initial picture is scaled to the size of the other.

    Returns
    -------
    In [-1, 1]; 1 for equal pictures. A Gaussian window of 11 pixels and sigma 1.5.

    Raises
    ------
    NbdiffuseError
        scikit-image is not installed.

    Source: Wang et al., Image Quality Assessment, 2004.
    """
    METRICS["ssim"].require()
    compare = importlib.import_module("skimage.metrics").structural_similarity
    first, second = (np.asarray(each) for each in _alike(initial, image))
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(compare(first, second, channel_axis=2, data_range=255, **how))


def structure(initial: Image.Image, image: Image.Image) -> float:
    """Compare where two pictures have edges, whatever their colours.

    Parameters
    ----------
    initial, image
        RGB; the initial picture is scaled to the size of the other.

    Returns
    -------
    In [0, 1]: the F-measure of Canny edges that lie within 0.75 % of the diagonal of
    one another; 1 where neither picture has any.

    Raises
    ------
    NbdiffuseError
        scikit-image is not installed.

    Source: Martin et al., Learning to Detect Natural Image Boundaries, 2004.
    """
    METRICS["structure"].require()
    canny = importlib.import_module("skimage.feature").canny
    distance = importlib.import_module("scipy.ndimage").distance_transform_edt
    first, second = (canny(np.asarray(each.convert("L")) / 255, sigma=2) for each in _alike(initial, image))
    if not first.any() or not second.any():
        return float(first.any() == second.any())
    reach = max(1.0, TOLERANCE * float(np.hypot(*first.shape)))
    kept = float((distance(~second)[first] <= reach).mean())
    known = float((distance(~first)[second] <= reach).mean())
    return 2 * kept * known / (kept + known) if kept + known else 0.0


def seam(image: Image.Image, mask: Image.Image) -> float:
    """Compare the differences of neighbouring pixels across the border of a mask with those beside it.

    Parameters
    ----------
    image
        RGB, of any size.
    mask
        L, of the same size: from 128 on a pixel counts as redrawn.

    Returns
    -------
    At least 0, and about 1 where the border does not show: the mean absolute difference of the
    neighbours that the border parts, over that of the neighbours on one side of it that lie within
    8 pixels of it. 1 where the mask has no border. A border that follows an edge of what is drawn shows.
    """
    inside = np.asarray(mask.convert("L")) >= 128
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    near = np.asarray(mask_shapes.grown(_picture(inside), BESIDE)) != np.asarray(mask_shapes.grown(_picture(inside), -BESIDE))
    across: list[float] = []
    beside: list[float] = []
    for turned in (False, True):
        parts = [array.swapaxes(0, 1) if turned else array for array in (inside, pixels, near)]
        (mine, other), (first, second), (here, there) = ((array[:, :-1], array[:, 1:]) for array in parts)
        apart = np.abs(first - second).mean(-1)
        across += apart[mine != other].tolist()
        beside += apart[(mine == other) & here & there].tolist()
    if not across or not beside:
        return 1.0
    # Half a level of brightness: what is all of one colour has no differences to compare with.
    return float((np.mean(across) + 0.5) / (np.mean(beside) + 0.5))


def _picture(inside: np.ndarray[Any, Any]) -> Image.Image:
    return Image.fromarray(inside.astype(np.uint8) * 255)


def _alike(initial: Image.Image, image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Bring both to one size, at least that of SSIM's window."""
    size = max(SMALLEST_SIDE, image.width), max(SMALLEST_SIDE, image.height)
    first, second = (each if each.size == size else each.resize(size, Image.Resampling.BICUBIC) for each in (initial, image))
    return first.convert("RGB"), second.convert("RGB")

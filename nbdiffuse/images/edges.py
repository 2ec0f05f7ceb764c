"""Edges of a picture, as ControlNets for `canny` follow them."""

from __future__ import annotations

import importlib.util

import numpy as np
from PIL import Image

from ..errors import NbdiffuseError

SIGMA = 1.0
"""Standard deviation of the blur before, in pixels."""
LOW, HIGH = 0.1, 0.2
"""Steepness from which an edge goes on, and from which one begins: the Sobel filter's answer to a picture in [0, 1]."""


def require_library(name: str = "canny") -> None:
    """Raise `NbdiffuseError` where scikit-image is not installed."""
    if importlib.util.find_spec("skimage") is None:
        way_out = 'Run `pip install "nbdiffuse[metrics]"`, or give a picture in its place.'
        raise NbdiffuseError(f"`{name}` needs scikit-image, which is not installed. {way_out}")


def canny(image: Image.Image) -> Image.Image:
    """Return a picture's edges by Canny's method.

    Parameters
    ----------
    image
        RGB, any size.

    Returns
    -------
    RGB, of the picture's size; edges are white, one pixel wide, on black.

    Raises
    ------
    NbdiffuseError
        scikit-image is not installed.

    Source: Canny, "A Computational Approach to Edge Detection", 1986; scikit-image `feature.canny`.
    """
    require_library()
    from skimage.feature import canny as find_edges

    grey = np.asarray(image.convert("L"), np.float64) / 255
    found = find_edges(grey, SIGMA, LOW, HIGH)
    return Image.fromarray(found.astype(np.uint8) * 255).convert("RGB")

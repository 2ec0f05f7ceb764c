"""Lines of a picture, as ControlNets for `lineart` and `scribble` follow them; no model is needed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .edges import require_library

LINE_SIGMA, LINE_THRESHOLD = 6.0, 8.0
"""Standard deviation of the blur that lines are darker than, in pixels of 512, and the difference that makes a line, of 255."""
FINE, COARSE, SCRIBBLE_THRESHOLD = 0.5, 5.0, 16.0
"""Standard deviations of the two blurs, in pixels of 512, and the difference from which a pixel is drawn, of 255."""


def lineart(image: Image.Image) -> Image.Image:
    """Return what is darker than its surroundings, as bright lines.

    Parameters
    ----------
    image
        RGB, any size.

    Returns
    -------
    RGB, of the picture's size; lines are bright on black.

    Raises
    ------
    NbdiffuseError
        scikit-image is not installed.

    Source: after AUTOMATIC1111's `lineart_standard` of its ControlNet extension.
    """
    darker = _darker(image, LINE_SIGMA, 0.0)
    lines = darker[darker > LINE_THRESHOLD]
    scaled = darker / max(16.0, float(np.median(lines)) if lines.size else 0.0) * 127
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


def scribble(image: Image.Image) -> Image.Image:
    """Return a picture's lines as a scribble: a difference of two blurs, white or black; parameters as for `lineart`.

    Source: Winnemöller, "XDoG: advanced image stylization with eXtended Difference-of-Gaussians", 2011; after AUTOMATIC1111's
    `scribble_xdog` of its ControlNet extension.
    """
    drawn = _darker(image, COARSE, FINE) > SCRIBBLE_THRESHOLD
    return Image.fromarray(drawn.astype(np.uint8) * 255).convert("RGB")


def _darker(image: Image.Image, coarse: float, fine: float) -> np.ndarray:
    """Return by how much each pixel is darker than its surroundings, of 255.

    Luminance is looked at, and blurs grow with the picture: colours of a flat drawing differ, and few are darker in each channel.
    """
    require_library()
    from skimage.filters import gaussian

    pixels, scale = np.asarray(image.convert("L"), np.float64), min(image.size) / 512
    own = gaussian(pixels, fine * scale, preserve_range=True) if fine else pixels
    darker: np.ndarray = (gaussian(pixels, coarse * scale, preserve_range=True) - own).clip(0, 255)
    return darker

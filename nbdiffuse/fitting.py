"""How a picture of any size meets the size of a run."""

from __future__ import annotations

from PIL import Image, ImageOps

from .errors import ParameterError, breaks_rule

SMALLEST, LARGEST = 64, 4096
"""Closed interval of a side, in pixels."""
Size = tuple[int, int]


def fitted_size(size: Size, *, width: int | None, height: int | None, multiple: int, limit: int | None = None) -> Size:
    """Return the size that a run uses for a picture.

    With width and height given, those; with one of them, the other follows from
    the proportions; with none, the picture's own size, scaled down so that the
    longer side is at most `limit`. Sides that are not scaled are rounded down to
    the multiple, as diffusers does; scaled ones to the nearest.

    Parameters
    ----------
    size
        Width and height of the picture, in pixels, at least 1.
    width, height
        What was asked for, in pixels, or None.
    multiple
        Both sides become multiples of this, in pixels.
    limit
        Longest side without an explicit size, in pixels, or None.

    Raises
    ------
    ParameterError
        A side would leave [64, 4096].
    """
    if width and height:
        return width, height
    scale = width / size[0] if width else height / size[1] if height else min(1.0, limit / max(size)) if limit else 1.0
    # A picture that is tiny, or thin after scaling, is enlarged until its shorter side can be run.
    if not (width or height):
        scale = max(scale, SMALLEST / min(size))

    def side(length: int) -> int:
        return length // multiple * multiple if scale == 1 else round(length * scale / multiple) * multiple

    found = (width or side(size[0]), height or side(size[1]))
    if not all(SMALLEST <= length <= LARGEST for length in found):
        shown = f"{found[0]}x{found[1]} for a picture of {size[0]}x{size[1]}"
        raise ParameterError(
            breaks_rule("width, height", f"in [{SMALLEST}, {LARGEST}]", shown, "Give both, with resize_mode crop or pad.")
        )
    return found


def fit(image: Image.Image, size: Size, mode: str = "fit", background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Bring an RGB picture to exactly `size`.

    Parameters
    ----------
    image
        RGB, any size.
    size
        Width and height in pixels.
    mode
        "fit" resizes (the size already keeps the proportions), "crop" covers the
        size and cuts what stands over, "pad" fits inside and fills up.
    background
        Colour of the borders, RGB.

    Returns
    -------
    An RGB picture; the same pixels where the size is right already.
    """
    if image.size == size:
        return image
    if mode == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if mode == "pad":
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=background)
    return image.resize(size, Image.Resampling.LANCZOS)

"""Masks that are painted: what a canvas begins with, and how what was painted is kept."""

from __future__ import annotations

import base64
import io
import textwrap

from PIL import Image

from ...errors import ImageInputError, Words, breaks_rule
from ...images.masks import as_mask
from ...images.picture import Picture

PAINTED = "painted"
"""What a painted mask is called."""
LARGEST = 4096 * 4096
"""Pixels of a picture that a mask is painted over, at most: browsers have no larger canvas."""
_TINT, _OPACITY = (255, 32, 128), 0.6


def check_paintable(picture: Picture) -> None:
    """Raise `ImageInputError` where a picture is larger than a browser can have painted over."""
    width, height = picture.size
    if width * height > LARGEST:
        way_out = "Make it smaller: a mask is brought to the run's size anyway."
        raise ImageInputError(
            breaks_rule("image", f"of at most {LARGEST:,} pixels to be painted over", Words(f"{width}x{height}"), way_out)
        )


def begun(picture: Picture, mask: Picture | None) -> Image.Image:
    """Return the mask that painting over a picture begins with, L and of its size: one that is there, or nothing."""
    if mask is None:
        return Image.new("L", picture.size, 0)
    grey = as_mask(mask).image.convert("L")
    return grey if grey.size == picture.size else grey.resize(picture.size, Image.Resampling.NEAREST)


def shown(picture: Image.Image, mask: Image.Image, side: int = 384) -> Image.Image:
    """Return a picture with what is redrawn coloured, RGB, as the canvas shows it; `side` is the longer one, at most."""
    tint = mask.point(lambda value: round(value * _OPACITY))
    whole = Image.composite(Image.new("RGB", picture.size, _TINT), picture, tint)
    times = side // max(whole.size)
    if times > 1:
        return whole.resize((whole.width * times, whole.height * times), Image.Resampling.NEAREST)
    whole.thumbnail((side, side), Image.Resampling.LANCZOS)
    return whole


def png_of(mask: Image.Image) -> bytes:
    """Return an L picture as a PNG: of one bit a pixel where it is black and white alone, which is much smaller."""
    only = sum(mask.histogram()[1:255]) == 0
    file = io.BytesIO()
    (mask.convert("1", dither=Image.Dither.NONE) if only else mask).save(file, "PNG", optimize=True)
    return file.getvalue()


def cell_of_mask(name: str, mask: Image.Image) -> str:
    """Write a cell that holds a mask: it sets a variable to these very pixels without any file."""
    url = f"data:image/png;base64,{base64.b64encode(png_of(mask)).decode()}"
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(url, 112))
    return f'import nbdiffuse\n\n{name} = nbdiffuse.Picture.of(\n{lines},\n    label="{name}",\n)'

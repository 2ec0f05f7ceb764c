"""How a picture of any size meets the size of a run."""

from __future__ import annotations

from PIL import Image

from ..errors import ParameterError, Words, breaks_rule, did_you_mean
from .conversion import WHITE
from .intake import check_rgb

MIN_SIDE, MAX_SIDE = 64, 4096
"""Closed interval of a side, in pixels."""
RESIZE_MODES = ("fit", "crop", "pad")


def fitted_size(
    size: tuple[int, int], *, width: int | None, height: int | None, multiple: int, limit: int | None = None
) -> tuple[int, int]:
    """Return the size that a run uses for an initial picture.

    Width and height, when given, are used. From one of them the other follows by
    the proportions, rounded to the nearest multiple. Without either, a picture
    whose longer side is over the limit is scaled down to it and each side rounded
    to the nearest multiple; any other keeps its size, each side rounded down to a
    multiple, as diffusers does (`VaeImageProcessor.get_default_height_width`). A
    picture with a side below 64 pixels is enlarged until that side has 64.

    Parameters
    ----------
    size
        Width and height of the picture, in pixels, at least 1.
    width, height
        What was asked for, in [64, 4096] pixels, multiples of `multiple`, or None.
    multiple
        What both sides must be multiples of, in pixels, at least 1.
    limit
        Longer side that the model was made for, in pixels, or None.

    Returns
    -------
    tuple of int
        Width and height, multiples of `multiple` in [64, 4096].

    Raises
    ------
    ParameterError
        A side leaves that range or is no multiple.
    """
    own_width, own_height = size
    for name, side in (("width", width), ("height", height)):
        if side is not None and (side % multiple or not MIN_SIDE <= side <= MAX_SIDE):
            raise ParameterError(breaks_rule(name, f"a multiple of {multiple} in [{MIN_SIDE}, {MAX_SIDE}]", side))
    if width and height:
        return width, height
    longer = max(size)
    if width:
        chosen = width, _to_multiple(width * own_height, own_width, multiple)
    elif height:
        chosen = _to_multiple(height * own_width, own_height, multiple), height
    elif min(size) < MIN_SIDE <= (limit or MIN_SIDE):
        chosen = _enlarged(size, multiple)
    elif limit is None or longer <= limit:
        chosen = own_width // multiple * multiple, own_height // multiple * multiple
    else:
        # A long, thin picture keeps its shorter side at what can be run.
        limit = max(limit, -(-MIN_SIDE * longer // min(size)))
        highest = limit // multiple * multiple
        chosen = (
            min(_to_multiple(limit * own_width, longer, multiple), highest),
            min(_to_multiple(limit * own_height, longer, multiple), highest),
        )
    if min(chosen) < MIN_SIDE or max(chosen) > MAX_SIDE:
        rule = f"a picture that runs at [{MIN_SIDE}, {MAX_SIDE}] pixels a side"
        shown = Words(f"{own_width}x{own_height}, which gives {chosen[0]}x{chosen[1]}")
        raise ParameterError(breaks_rule("image", rule, shown, 'Give `width` and `height`, with `resize_mode` "crop" or "pad".'))
    return chosen


def _enlarged(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    shorter = min(size)
    width, height = (_to_multiple(MIN_SIDE * side, shorter, multiple) for side in size)
    return width, height


def _to_multiple(numerator: int, denominator: int, multiple: int) -> int:
    """Round a fraction to the nearest multiple, halves up."""
    step = denominator * multiple
    return (2 * numerator + step) // (2 * step) * multiple


def fit(image: Image.Image, size: tuple[int, int], mode: str = "fit", background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Bring a picture to a size.

    Parameters
    ----------
    image
        RGB picture of any size.
    size
        Width and height in pixels, at least 1.
    mode
        "fit" resizes to exactly that size as diffusers does (`VaeImageProcessor.resize`,
        Lanczos), keeping everything; "crop" fills the size, keeping the proportions
        and the centre; "pad" keeps everything and the proportions, between borders.
    background
        RGB in [0, 255] of the borders.

    Returns
    -------
    PIL.Image.Image
        RGB, of that size; a copy with the same pixels if it was that size.

    Raises
    ------
    ParameterError
        The mode is unknown.
    ImageInputError
        The picture's mode is not RGB.
    """
    check_rgb(image)
    if mode not in RESIZE_MODES:
        rule = f"one of {', '.join(RESIZE_MODES)}"
        raise ParameterError(breaks_rule("resize_mode", rule, mode, did_you_mean(str(mode), RESIZE_MODES)))
    lanczos = Image.Resampling.LANCZOS
    if mode == "crop":
        # One step from the middle part: no second rounding.
        return image.resize(size, lanczos, box=crop_box(image.size, size))
    if mode == "pad":
        inner, corner = pad_place(image.size, size)
        canvas = Image.new("RGB", size, background)
        canvas.paste(image.resize(inner, lanczos), corner)
        return canvas
    return image.resize(size, lanczos)


def crop_box(own: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the middle part of a picture that "crop" keeps: left, top, right and bottom, in its pixels."""
    (own_width, own_height), (width, height) = own, size
    scale = min(own_width / width, own_height / height)
    left, top = (own_width - width * scale) / 2, (own_height - height * scale) / 2
    return max(left, 0), max(top, 0), min(own_width - left, own_width), min(own_height - top, own_height)


def pad_place(own: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where "pad" puts a picture: its size there, and its upper left corner, in pixels."""
    (own_width, own_height), (width, height) = own, size
    scale = min(width / own_width, height / own_height)
    inner = max(1, round(own_width * scale)), max(1, round(own_height * scale))
    return inner, ((width - inner[0]) // 2, (height - inner[1]) // 2)

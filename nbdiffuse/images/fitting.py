"""Fitting: a picture of any size is fitted, cropped, padded or stretched to the size of a run."""

from __future__ import annotations

from typing import TypeAlias

from PIL import Image

from ..errors import ParameterError, Words, breaks_rule, did_you_mean
from .conversion import WHITE
from .reader import check_rgb

MIN_SIDE, MAX_SIDE = 64, 4096
"""Closed interval of a side, in pixels."""
RESIZE_MODES = ("fit", "crop", "pad", "stretch")
Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


def fitted_size(
    size: Size, *, width: int | None, height: int | None, multiple: int, limit: int | None = None, mode: str = "fit"
) -> Size:
    """Return the size that a run uses for an initial picture.

    From width or height alone the other side follows by the proportions, rounded to
    the nearest multiple. Both of them are used as they are by every mode but "fit",
    which takes the largest size within them that has the picture's proportions.
    Without either, a picture whose longer side is over the limit is scaled down to it
    and each side rounded to the nearest multiple; any other keeps its size, each side
    rounded down to a multiple, as diffusers does
    (`VaeImageProcessor.get_default_height_width`). A picture whose shorter side would
    have less than 64 pixels is enlarged until that side has 64.

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
    mode
        One of `RESIZE_MODES`.

    Returns
    -------
    tuple of int
        Width and height, multiples of `multiple` in [64, 4096].

    Raises
    ------
    ParameterError
        A side leaves that range or is no multiple.
    """
    for name, side in (("width", width), ("height", height)):
        if side is not None and (side % multiple or not MIN_SIDE <= side <= MAX_SIDE):
            raise ParameterError(breaks_rule(name, f"a multiple of {multiple} in [{MIN_SIDE}, {MAX_SIDE}]", side))
    if width and height:
        if mode != "fit" or (width, height) == _by_itself(size, multiple, limit):
            return width, height
        chosen = _within(size, width, height, multiple)
    elif width:
        chosen = _of_width(size, width, multiple)
    elif height:
        chosen = _of_height(size, height, multiple)
    else:
        chosen = _by_itself(size, multiple, limit)
    if min(chosen) < MIN_SIDE or max(chosen) > MAX_SIDE:
        rule = f"a picture that runs at [{MIN_SIDE}, {MAX_SIDE}] pixels a side"
        shown = Words(f"{size[0]}x{size[1]}, which gives {chosen[0]}x{chosen[1]}")
        raise ParameterError(breaks_rule("image", rule, shown, 'Give `width` and `height`, with `resize_mode` "crop" or "pad".'))
    return chosen


def _by_itself(size: Size, multiple: int, limit: int | None) -> Size:
    """Return the size of a picture for which none was asked."""
    own_width, own_height = size
    longer = max(size)
    if min(size) < MIN_SIDE <= (limit or MIN_SIDE):
        return _enlarged(size, multiple)
    if limit is None or longer <= limit:
        return own_width // multiple * multiple, own_height // multiple * multiple
    # A long, thin picture keeps its shorter side at what can be run.
    limit = max(limit, -(-MIN_SIDE * longer // min(size)))
    highest = limit // multiple * multiple
    return (
        min(_to_multiple(limit * own_width, longer, multiple), highest),
        min(_to_multiple(limit * own_height, longer, multiple), highest),
    )


def _within(size: Size, width: int, height: int, multiple: int) -> Size:
    """Return the largest size inside a box that has a picture's proportions, to the nearest multiple."""
    by_width, by_height = _of_width(size, width, multiple), _of_height(size, height, multiple)
    if (width, height) in (by_width, by_height):
        return width, height
    chosen = by_width if by_width[1] <= height else by_height
    return chosen if min(chosen) >= MIN_SIDE else _enlarged(size, multiple)


def _of_width(size: Size, width: int, multiple: int) -> Size:
    return width, _to_multiple(width * size[1], size[0], multiple)


def _of_height(size: Size, height: int, multiple: int) -> Size:
    return _to_multiple(height * size[0], size[1], multiple), height


def _enlarged(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    shorter = min(size)
    width, height = (_to_multiple(MIN_SIDE * side, shorter, multiple) for side in size)
    return width, height


def _to_multiple(numerator: int, denominator: int, multiple: int) -> int:
    """Round a fraction to the nearest multiple, halves up."""
    step = denominator * multiple
    return (2 * numerator + step) // (2 * step) * multiple


def fit(
    image: Image.Image,
    size: Size,
    mode: str = "fit",
    background: tuple[int, int, int] = WHITE,
    *,
    over: Size | None = None,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """Bring a picture to a size.

    Parameters
    ----------
    image
        RGB picture of any size.
    size
        Width and height in pixels, at least 1; for "fit" from `fitted_size`.
    mode
        "fit" and "stretch" resize to exactly that size as diffusers does
        (`VaeImageProcessor.resize`, Lanczos), keeping everything; "crop" fills the
        size, keeping the proportions and the centre; "pad" keeps everything and the
        proportions, between borders.
    background
        RGB in [0, 255] of the borders.
    over
        Size of the picture that this one lies over as a whole, as a mask does: it is cut
        and placed as that one; its own when not given.
    resample
        Pillow's filter.

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
    if mode == "crop":
        # One step from the middle part: no second rounding.
        return image.resize(size, resample, box=crop_box(image.size, size, over))
    if mode == "pad":
        inner, corner = pad_place(over or image.size, size)
        canvas = Image.new("RGB", size, background)
        canvas.paste(image.resize(inner, resample), corner)
        return canvas
    return image.resize(size, resample)


def crop_box(own: Size, size: Size, over: Size | None = None) -> tuple[float, float, float, float]:
    """Return the part of a picture that "crop" keeps: left, top, right and bottom, in its pixels.

    It is the middle part, or what lies over the middle part of a picture of the size `over`.
    """
    (own_width, own_height), (width, height) = over or own, size
    scale = min(own_width / width, own_height / height)
    left, top = (own_width - width * scale) / 2, (own_height - height * scale) / 2
    box = max(left, 0), max(top, 0), min(own_width - left, own_width), min(own_height - top, own_height)
    if over is None or over == own:
        return box
    across, down = own[0] / own_width, own[1] / own_height
    return box[0] * across, box[1] * down, min(box[2] * across, own[0]), min(box[3] * down, own[1])


def pad_place(own: Size, size: Size) -> tuple[Size, Size]:
    """Return where "pad" puts a picture: its size there, and its upper left corner, in pixels."""
    (own_width, own_height), (width, height) = own, size
    scale = min(width / own_width, height / own_height)
    inner = max(1, round(own_width * scale)), max(1, round(own_height * scale))
    return inner, ((width - inner[0]) // 2, (height - inner[1]) // 2)

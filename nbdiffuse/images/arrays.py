"""Arrays as bytes of a picture: integers of 8 to 16 bits, floats in [0, 1] or bools, in any layout that shows a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..errors import ImageInputError

Array: TypeAlias = np.ndarray[Any, Any]
Refusal: TypeAlias = Callable[[str, str], ImageInputError]
"""Makes an error of a rule and a way out; it knows what was given."""


def check_shape(array: Array, refusal: Refusal) -> None:
    """Refuse an array that is not (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)."""
    shape = array.shape
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
        raise refusal("an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)", _layout_hint(shape))


def _layout_hint(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "It is empty."
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "Channels come last: use array.transpose(1, 2, 0)."
    if len(shape) == 4:
        return "Give one picture of the batch: array[0]."
    return "Channels come last; there are 1, 3 or 4."


def to_bytes(values: Array, refusal: Refusal, notices: list[str]) -> Array:
    """Scale an array that somebody gave to [0, 255], rounded to the nearest.

    Parameters
    ----------
    values
        uint8, uint16 in [0, 65535], bool, or floats in [0, 1].
    refusal
        Makes the error when it is something else.
    notices
        Gets a line when bits are lost.
    """
    kind = values.dtype
    if kind == np.uint8:
        return values
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if kind.kind == "f":
        _check_range(values, 1, refusal)
        return np.rint(values * np.float32(255)).astype(np.uint8)
    if kind.newbyteorder("=") != np.uint16:
        raise refusal("an array of uint8, uint16, bool or float", 'Use array.astype("uint8") for values in [0, 255].')
    return scaled(values, 65535, refusal, notices)


def scaled(values: Array, top: int, refusal: Refusal, notices: list[str]) -> Array:
    """Scale integers in [0, top] to [0, 255]; `top` is 4095 or 65535."""
    _check_range(values, top, refusal)
    notices.append(f"{'12' if top == 4095 else '16'}-bit values are scaled to 8 bits")
    return ((values.astype(np.uint32) * 510 + top) // (2 * top)).astype(np.uint8)


def _check_range(values: Array, top: int, refusal: Refusal) -> None:
    low, high = values.min(), values.max()
    if low >= 0 and high <= top:
        return
    way_out = "Use numpy.clip(array, 0, 1)." if top == 1 else "Scale them first."
    if low != low:
        way_out = "Use numpy.nan_to_num(array), or find out where the NaN come from."
    elif top == 1 and low >= 0 and 2 <= high <= 255:
        way_out = "Divide by 255 first."
    elif top == 1 and -1 <= low < 0 and high <= 1:
        way_out = "Use array / 2 + 0.5 if they lie in [-1, 1]."
    raise refusal(f"a picture with values in [0, {top}]", f"They lie in [{low:.9g}, {high:.9g}]. {way_out}")

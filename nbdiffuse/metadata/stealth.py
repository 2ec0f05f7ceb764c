"""Text in the lowest bits of a picture, where NovelAI and AUTOMATIC1111's extension put it since websites strip the rest."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

_ALPHA = {b"stealth_pnginfo": False, b"stealth_pngcomp": True}
_COLORS = {b"stealth_rgbinfo": False, b"stealth_rgbcomp": True}
"""What such a text begins with, in the lowest bits of alpha or of red, green and blue, and whether it is compressed."""
_HEAD = 8 * 15
_LARGEST = 4_000_000


def read(image: Image.Image) -> str | None:
    """Return the text in a picture's lowest bits, or None.

    Parameters
    ----------
    image
        RGB or RGBA, any size; its pixels are decoded. Others hold none.

    Raises
    ------
    ValueError
        There is one, and it is damaged or larger than 4 MB.

    Notes
    -----
    Source: ashen-sensored `sd_webui_stealth_pnginfo`: the signature, the length in bits
    as 32 bits, and the text, column by column from the left, the highest bit first.
    """
    kinds = ((_ALPHA, [3]),) if image.mode == "RGBA" else ()
    for signatures, channels in (*kinds, *(((_COLORS, [0, 1, 2]),) if image.mode in ("RGB", "RGBA") else ())):
        columns = _HEAD // (image.height * len(channels)) + 1
        head = _bytes(image.crop((0, 0, min(columns, image.width), image.height)), channels)[: _HEAD // 8]
        if head in signatures:
            return _text(_bytes(image, channels)[_HEAD // 8 :], signatures[head])
    return None


def _bytes(image: Image.Image, channels: list[int]) -> bytes:
    bits = np.asarray(image)[:, :, channels] & 1
    return np.packbits(bits.transpose(1, 0, 2).reshape(-1)).tobytes()


def _text(rest: bytes, compressed: bool) -> str:
    length = int.from_bytes(rest[:4], "big") // 8
    content = rest[4 : 4 + length]
    if len(content) < length or length > _LARGEST:
        raise ValueError("the text in its lowest bits is damaged")
    if compressed:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            content = unpacker.decompress(content, _LARGEST + 1)
        except zlib.error:
            raise ValueError("the text in its lowest bits is damaged") from None
        if len(content) > _LARGEST:
            raise ValueError("the text in its lowest bits is too large")
    return content.decode("utf-8", "replace")

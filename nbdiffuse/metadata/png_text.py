"""Texts of a PNG, those behind its pixels too, read without decoding the picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST = 4_000_000
"""Bytes of one text that are looked at; four for each of the million characters that are read."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")
"""The format's own chunks, and the one in which ComfyUI writes into animations."""
_MOST_CHUNKS = 100_000
_LONGEST_KEYWORD = 80


def read(file: BinaryIO, keywords: Container[str]) -> tuple[dict[str, str | None], bytes]:
    """Read the texts of a PNG, and its EXIF.

    Parameters
    ----------
    file
        Of a PNG, seekable. What is torn off is not missed: the texts before it are read.
    keywords
        Keywords of the texts that are wanted. All others are left where they are, however large.

    Returns
    -------
    The texts by keyword, the first where one stands there twice, None for one that is
    damaged or larger than `LARGEST` bytes; and the EXIF.

    Notes
    -----
    Source: "Portable Network Graphics (PNG) Specification", 11.3.3 Textual information:
    text may stand before the pixels or behind them.
    """
    found: dict[str, str | None] = {}
    exif = b""
    file.seek(len(SIGNATURE))
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        behind = file.tell() + length + 4
        if kind == b"IEND":
            break
        if kind in _TEXTS:
            keyword = file.read(min(_LONGEST_KEYWORD, length)).partition(b"\0")[0]
            name = keyword.decode("latin-1")
            if name in keywords and name not in found:
                file.seek(behind - 4 - length + len(keyword) + 1)
                found[name] = _text(kind, file.read(length - len(keyword) - 1)) if length <= LARGEST else None
        elif kind == b"eXIf" and length <= LARGEST:
            exif = file.read(length)
        file.seek(behind)
    return found, exif


def _text(kind: bytes, rest: bytes) -> str | None:
    if kind == b"tEXt":
        return _decoded(rest)
    if kind == b"comf":
        return rest.decode("utf-8", "replace")
    if kind == b"zTXt":
        inflated = _inflated(rest[1:])
        return None if inflated is None else _decoded(inflated)
    compressed, content = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    text = _inflated(content) if compressed else content
    return None if text is None else text.decode("utf-8", "replace")


def _decoded(content: bytes) -> str:
    """Read text that is Latin-1 by the rules, and UTF-8 where a tool did not keep them."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _inflated(content: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        inflated = unpacker.decompress(content, LARGEST + 1)
    except zlib.error:
        return None
    return inflated if len(inflated) <= LARGEST else None

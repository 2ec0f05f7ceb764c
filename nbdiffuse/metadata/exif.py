"""EXIF: the comment that holds generation text, written as other tools read it, and read as they write it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

_CODES = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp", b"\0" * 8: "utf-8"}
"""What the first 8 bytes of a comment say of the rest."""
_COMMENTS = (ExifTags.Base.UserComment, ExifTags.Base.XPComment, ExifTags.Base.ImageDescription)
_PREFIXED = (ExifTags.Base.Model, ExifTags.Base.Make, ExifTags.Base.ImageDescription)
"""Where ComfyUI and its nodes put "prompt:" and a graph."""
_LARGEST = 4_000_000
_SHORT, _LONG, _UNDEFINED = 3, 4, 7


def block_with_comment(text: str) -> bytes:
    """Write EXIF whose only entry is a UserComment.

    It has the type UNDEFINED, as the format asks and as Pillow cannot be told: readers
    get nothing from one of another type. The text is UTF-16, big-endian, as
    AUTOMATIC1111 writes it.

    Notes
    -----
    Source: "Exchangeable image file format for digital still cameras", 4.6.5 and Table 6.
    """
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    first = struct.pack(">HHHII", 1, ExifTags.IFD.Exif, _LONG, 1, 8 + 18)
    second = struct.pack(">HHHII", 1, ExifTags.Base.UserComment, _UNDEFINED, len(comment), 8 + 18 + 18)
    end = struct.pack(">I", 0)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + first + end + second + end + comment


def read(exif: bytes) -> tuple[list[str], dict[str, str]]:
    """Read the texts of EXIF that may say how a picture was made.

    Parameters
    ----------
    exif
        With or without "Exif" in front.

    Returns
    -------
    Comments, whatever they say; and texts of one tool by its own name: "prompt" of
    ComfyUI, "fooocus_scheme" of Fooocus.
    """
    held = Image.Exif()
    held.load(exif)
    inside = held.get_ifd(ExifTags.IFD.Exif)
    # Fooocus and others put the comment beside the block that it belongs into.
    comments = [text for tag in _COMMENTS for ifd in (inside, held) for text in _decoded(ifd.get(tag))]
    named: dict[str, str] = {}
    for tag in _PREFIXED:
        for text in _decoded(held.get(tag)):
            name, colon, rest = text.partition(":")
            if colon and name.strip().lower() == "prompt":
                named.setdefault("prompt", rest.strip())
    for ifd in (inside, held):
        # Fooocus says its scheme where cameras leave notes of their own.
        scheme = next(iter(_decoded(ifd.get(ExifTags.Base.MakerNote))), "")
        if scheme in ("fooocus", "a1111"):
            named["fooocus_scheme"] = scheme
    return comments, named


def _decoded(value: Any) -> Iterator[str]:
    if isinstance(value, tuple) and value and all(isinstance(part, int) and 0 <= part < 256 for part in value):
        value = bytes(value)
    if isinstance(value, str):
        # Pillow reads this type as Latin-1, and many tools write UTF-8 into it.
        value = value.encode("latin-1", "replace")
    if isinstance(value, bytes) and value.strip(b"\0 "):
        text = decoded(value[: _LARGEST + 8])
        if text:
            yield text


def decoded(comment: bytes) -> str:
    """Return the text of a comment, whatever its first bytes say of it, without blank space around it."""
    code, content = _CODES.get(comment[:8]), comment
    if code is not None:
        content = comment[8:]
    if code in (None, "utf-8", "utf-16"):
        code = _encoding(content, code == "utf-16")
    try:
        text = content.decode(code, "strict" if code == "utf-8" else "replace")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.strip("\0").removeprefix("\ufeff").strip()


def _encoding(content: bytes, wide: bool) -> str:
    """Tell the encoding by the zeros: every text that says how a picture was made has ASCII in it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = content[::2].count(0), content[1::2].count(0)
    if even == odd == 0 or (not wide and max(even, odd) < len(content) / 8):
        return "utf-8" if not wide or _is_utf8(content) else "utf-16-be"
    # AUTOMATIC1111 writes big-endian whatever the file says; other tools follow the file.
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

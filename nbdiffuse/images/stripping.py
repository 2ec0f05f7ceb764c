"""Stripping: a PNG or JPEG without texts, profiles and tags that are too large or damaged to be read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
LARGEST_FILE = 2**30
"""Bytes of a file that are copied without its metadata."""
LARGEST_PROFILE = 16 * 2**20
"""Bytes that a compressed colour profile may have; those of printers have up to 3 MB."""
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_READ = _NEEDED | {b"tRNS", b"eXIf"} | _ANIMATION
"""Chunks that change how a PNG looks; a colour profile is read by itself."""
_START_OF_SCAN = 0xDA
_NAMED = 8
"""Kinds of metadata that a notice names."""


@dataclass(frozen=True)
class Stripped:
    """A file without what its pixels do not need.

    Parameters
    ----------
    file
        The same picture.
    left_out
        What the file had beside it, by the names of the format.
    profile
        Its colour profile, where that can be read.
    """

    file: IO[bytes]
    left_out: tuple[str, ...]
    profile: bytes | None = None

    @property
    def notice(self) -> str:
        """What a person should know, or nothing."""
        names = ", ".join(self.left_out[:_NAMED]) + (" and more" if len(self.left_out) > _NAMED else "")
        return f"metadata that is damaged or too large to read is left out: {names}" if names else ""


def stripped(file: IO[bytes]) -> Iterator[Stripped]:
    """Yield a PNG or JPEG without what its pixels do not need, the one that keeps more first; nothing for other files."""
    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(0)
    start = file.read(8)
    if size > LARGEST_FILE:
        return
    if start == PNG:
        yield _png(file, _READ)
        # An animation or transparency that is damaged itself leaves the first frame as it is.
        yield _png(file, _NEEDED)
    elif start[:2] == JPEG:
        yield _jpeg(file)


def _png(file: IO[bytes], kept: frozenset[bytes]) -> Stripped:
    copy, left_out, profile = io.BytesIO(), dict[str, None](), None
    copy.write(PNG)
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        # Never decompressed but the profile, and that with a limit: texts are where bombs hide.
        body = file.read(length + 4) if kind in kept or kind == b"iCCP" else b""
        if kind in kept:
            copy.write(head + body)
            if kind == b"IEND":
                break
            continue
        if not body:
            file.seek(length + 4, io.SEEK_CUR)
        if kind == b"iCCP" and profile is None:
            profile = _decompressed(body[:-4])
        if kind != b"iCCP" or profile is None:
            left_out[kind.decode("latin-1") if kind.isalpha() else "an unknown chunk"] = None
    copy.seek(0)
    return Stripped(copy, tuple(left_out), profile)


def _decompressed(body: bytes) -> bytes | None:
    """Return the profile of an iCCP chunk: a name, a null byte, the method 0, and zlib data."""
    _, _, rest = body.partition(b"\0")
    if rest[:1] != b"\0":
        return None
    decoder = zlib.decompressobj()
    try:
        profile = decoder.decompress(rest[1:], LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if decoder.eof else None


def _jpeg(file: IO[bytes]) -> Stripped:
    """Copy a JPEG with whole EXIF, Adobe and profile segments, and without the other ones that applications write."""
    copy, left_out = io.BytesIO(), dict[str, None]()
    copy.write(JPEG)
    file.seek(2)
    while len(head := file.read(2)) == 2:
        marker = head[1]
        if head[0] != 0xFF or marker in (0xFF, _START_OF_SCAN):
            file.seek(-2, io.SEEK_CUR)
            break
        size = file.read(2)
        length = int.from_bytes(size, "big") - 2
        body = file.read(max(0, length))
        if _is_kept(marker, body):
            copy.write(head + size + body)
        else:
            left_out["COM" if marker == 0xFE else f"APP{marker - 0xE0}"] = None
    while part := file.read(2**20):
        copy.write(part)
    copy.seek(0)
    return Stripped(copy, tuple(left_out))


def _is_kept(marker: int, body: bytes) -> bool:
    if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
        return True
    exif = marker == 0xE1 and body.startswith(b"Exif\0\0")
    profile = marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14
    return exif or profile or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)

"""Entries of the store: a PNG with its provenance inside, the run's notices after its end, and a checksum of both."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import FileError
from ..metadata.image_files import CHUNK
from ..metadata.provenance import Provenance

_TRAILER = b"\nnbdiffuse store "


@dataclass(frozen=True)
class Kept:
    """What the store knows of a run.

    Parameters
    ----------
    image
        RGB.
    seconds
        Wall time of the run, in seconds.
    notices
        Lines that a person should read.
    fingerprint
        What else could change the pixels, by name.
    """

    image: Image.Image
    seconds: float
    notices: tuple[str, ...]
    fingerprint: Mapping[str, str] = field(default_factory=dict)


def packed(image: Image.Image, provenance: Provenance, seconds: float, notices: tuple[str, ...]) -> bytes:
    """Return the bytes of an entry; see `Kept` for what goes with its image."""
    info = PngInfo()
    info.add_itxt(CHUNK, provenance.to_own_json())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    content = buffer.getvalue() + _TRAILER + json.dumps({"seconds": seconds, "notices": notices}).encode() + b" "
    return content + hashlib.sha256(content).hexdigest().encode()


def unpacked(content: bytes) -> tuple[Kept, Provenance]:
    """Read what `packed` made, or raise `FileError`."""
    content, digest = content[:-64], content[-64:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise FileError("A file of the store is damaged.")
    try:
        end = content.rindex(_TRAILER)
        facts = json.loads(content[end + len(_TRAILER) :])
        with Image.open(io.BytesIO(content[:end]), formats=("PNG",)) as image:
            provenance = Provenance.from_own_json(image.info[CHUNK])
            seconds, notices = float(facts["seconds"]), tuple(map(str, facts["notices"]))
            kept = Kept(image.convert("RGB"), seconds if seconds >= 0 else 0.0, notices, provenance.fingerprint)
    except FileError:
        raise
    except Exception as error:  # Pillow's parsers raise many types on what somebody else wrote.
        raise FileError(f"A file of the store is damaged: {type(error).__name__}.") from None
    return kept, provenance

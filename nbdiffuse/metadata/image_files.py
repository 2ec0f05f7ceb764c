"""Image files with their recipe inside: PNG, JPEG and WebP, with our JSON and the text that other tools read."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..errors import FileError, ImageInputError
from ..files.atomic import write_atomic
from ..files.paths import path_of
from ..files.targets import check_file, made_folder
from ..images.reader import check_rgb
from . import exif, resources, texts, xmp
from .a1111 import generation_text
from .provenance import Provenance

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
CHUNK = texts.OURS
LARGEST_TEXT = 1_000_000
_LARGEST_SEGMENT = 65_000
"""Bytes that EXIF and XMP of a JPEG may each take; the format's own limit is 65533 with their headers."""


class ForeignTextError(FileError):
    """Another tool's text that cannot be read; the picture that it stands in can be one all the same."""


@dataclass(frozen=True)
class Metadata:
    """What a file says of its making.

    Parameters
    ----------
    provenance
        Ours, or None.
    parameters
        The generation text that AUTOMATIC1111 and its kin write, or the JSON of tools that
        write one value under each name, see `flat`; or None.
    others
        Texts of further tools as they stand, by the name that the tool gives them, see `texts.OTHERS`.
    """

    provenance: Provenance | None
    parameters: str | None
    others: Mapping[str, str] = field(default_factory=dict)


def write(image: Image.Image, path: str | os.PathLike[str], provenance: Provenance) -> None:
    """Save a picture with its provenance; the file is whole or not there, and a failure spares the old one.

    Nothing else that the PIL image carries (comments, EXIF, colour profile) is written.

    Parameters
    ----------
    image
        RGB, any size that the format holds.
    path
        Ends in .png, .jpg, .jpeg (quality 95) or .webp (lossless); folders above it are made.
    provenance
        Written as JSON beside the generation text: in a PNG as the text chunks
        `nbdiffuse` and `parameters`, else as XMP and EXIF UserComment.

    Raises
    ------
    FileError
        The suffix is another one, the prompt is too long for a JPEG or over 1 MB, or
        the file cannot be written.
    ImageInputError
        The picture is not RGB.
    ParameterError
        The recipe is not complete.
    """
    target = check_file(path, SUFFIXES)
    kind = SUFFIXES[target.suffix.lower()]
    check_rgb(image)
    shared = provenance.to_share()
    ours = shared.to_own_json()
    if len(ours) > LARGEST_TEXT:
        raise FileError(f"{_shown(path)} cannot be written: its recipe is larger than 1 MB. Shorten the prompt.")
    hashes = {
        "model_hash": resources.model_hash(provenance.recipe, provenance.fingerprint.get("checkpoint", "")),
        "lora_hashes": resources.lora_hashes(provenance.recipe.loras),
    }
    parameters = generation_text(shared.recipe, shared.version, **hashes)
    bare, buffer = image.copy(), io.BytesIO()
    bare.info.clear()  # Pillow copies a comment from it into a JPEG.
    try:
        options = _embedded_text(kind, ours, parameters)
        if kind == "JPEG" and any(len(options[part]) > _LARGEST_SEGMENT for part in ("exif", "xmp")):
            raise FileError(f"{_shown(path)} cannot be written: the prompt is too long for a JPEG. Save as .png or .webp.")
        bare.save(buffer, kind, **options)
        made_folder(target.parent)
        write_atomic(target, buffer.getvalue())
    except (OSError, ValueError, RuntimeError) as error:
        raise FileError(f"{_shown(path)} cannot be written: {_cause(error, path)} The picture is still in memory.") from None


def _shown(path: object) -> str:
    text = str(path)
    return text if text.isprintable() else repr(text)


def _cause(error: Exception, path: str | os.PathLike[str]) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return f"{str(error).rstrip('.')}."
    if isinstance(error, FileNotFoundError):
        return f"the folder {_shown(Path(path).parent)} does not exist."
    full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    cause = "no space is left" if full else os.strerror(error.errno)
    try:
        free = shutil.disk_usage(path_of(path).parent).free
    except OSError:
        return f"{cause}."
    return f"{cause} ({free / 1e6:.0f} MB free)."


def _embedded_text(kind: str, provenance: str, parameters: str) -> dict[str, Any]:
    if kind == "PNG":
        info = PngInfo()
        info.add_text("parameters", parameters)
        info.add_itxt(CHUNK, provenance)
        return {"pnginfo": info}
    packed = {"exif": exif.block_with_comment(parameters), "xmp": xmp.packet_with(provenance)}
    return {**packed, **({"quality": 95} if kind == "JPEG" else {"lossless": True})}


def read(source: str | os.PathLike[str] | bytes | Image.Image, hidden: bool = False) -> Metadata:
    """Read what a file says about its making; what it says is data and never trusted.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, its bytes, or a PIL image that was opened from one.
        Text may stand before the pixels or behind them.
    hidden
        Whether to look for text in the lowest bits of the pixels, too, which decodes them.

    Returns
    -------
    Metadata
        Our provenance, the generation text, each None where there is none, and the
        texts of other tools.

    Raises
    ------
    FileError
        Our own text is there and damaged, or a text is larger than 1 MB; a
        `ForeignTextError` where it is another tool's.
    ImageInputError
        The file cannot be read.
    """
    shown = "The picture" if isinstance(source, (Image.Image, bytes)) else _shown(source)
    try:
        found = texts.of(source if isinstance(source, (Image.Image, bytes)) else path_of(source), hidden)
    except FileError as error:  # Its name is none that a file can have.
        raise ImageInputError(f"{shown} cannot be read: {error}") from None
    except UnidentifiedImageError:
        raise ImageInputError(f"{shown} cannot be read: its content is no PNG, JPEG or WebP picture.") from None
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else "its content is damaged"
        raise ImageInputError(f"{shown} cannot be read: {cause}.") from None
    except ValueError as error:
        if "too large" in str(error) or "Too much memory" in str(error):
            raise ForeignTextError(f"{shown}: its text is larger than 1 MB; it is not read.") from None
        raise ImageInputError(f"{shown} cannot be read: its content is damaged.") from None
    except Exception as error:  # Pillow's parsers raise many types on hostile bytes.
        raise ImageInputError(f"{shown} cannot be read: {type(error).__name__}.") from None
    too_large = [name for name, text in found.items() if len(text) > LARGEST_TEXT]
    if too_large:
        kind = FileError if CHUNK in too_large else ForeignTextError
        raise kind(f"{shown}: its text is larger than 1 MB; it is not read.")
    ours, parameters = found.pop(CHUNK, None), found.pop("parameters", None)
    return Metadata(Provenance.from_json(ours) if ours else None, parameters, found)

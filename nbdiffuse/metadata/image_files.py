"""Files that know their recipe: PNG, JPEG and WebP with our JSON and the text that other tools read."""

from __future__ import annotations

import errno
import html
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..errors import FileError, ImageInputError, breaks_rule
from ..files.drafts import write_whole
from ..files.paths import path_of
from ..images.intake import check_rgb
from .a1111 import generation_text, looks_like_generation_text
from .provenance import Provenance

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
CHUNK = "nbdiffuse"
OTHERS = ("fooocus_scheme", "invokeai_metadata", "sd-metadata", "prompt")
"""Text chunks of Fooocus, InvokeAI, its version 2, and ComfyUI."""
_LARGEST_TEXT = 1_000_000
_UNICODE = b"UNICODE\0"
_TAG = "nbdiffuse:provenance"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:nbdiffuse="urn:nbdiffuse"><{_TAG}>%s</{_TAG}></rdf:Description>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_LARGEST_SEGMENT = 65_000
"""Bytes that EXIF and XMP of a JPEG may each take; the format's own limit is 65533 with their headers."""


@dataclass(frozen=True)
class Metadata:
    """What a file says of its making.

    Parameters
    ----------
    provenance
        Ours, or None.
    parameters
        The generation text that AUTOMATIC1111 and its kin write, or None.
    others
        Texts of further tools as they stand, by the name that the tool gives them, see `OTHERS`.
    """

    provenance: Provenance | None
    parameters: str | None
    others: Mapping[str, str] = field(default_factory=dict)


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return the format that a file name's suffix asks for, or raise `FileError`."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FileError(breaks_rule("save", f"a file name that ends in {', '.join(SUFFIXES)}", os.fspath(path)))
    return SUFFIXES[suffix]


def write(image: Image.Image, path: str | os.PathLike[str], provenance: Provenance) -> None:
    """Save a picture with its provenance; the file is whole or not there, and a failure spares the old one.

    Nothing else that the PIL image carries (comments, EXIF, colour profile) is written.

    Parameters
    ----------
    image
        RGB, any size that the format holds.
    path
        Ends in .png, .jpg, .jpeg (quality 95) or .webp (lossless).
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
    kind = check_suffix(path)
    check_rgb(image)
    shared = provenance.to_share()
    ours = shared.to_own_json()
    if len(ours) > _LARGEST_TEXT:
        raise FileError(f"{_shown(path)} cannot be written: its recipe is larger than 1 MB. Shorten the prompt.")
    parameters = generation_text(shared.recipe, shared.version)
    bare, buffer = image.copy(), io.BytesIO()
    bare.info.clear()  # Pillow copies a comment from it into a JPEG.
    try:
        options = _embedded_text(kind, ours, parameters)
        if kind == "JPEG" and any(len(options[part]) > _LARGEST_SEGMENT for part in ("exif", "xmp")):
            raise FileError(f"{_shown(path)} cannot be written: the prompt is too long for a JPEG. Save as .png or .webp.")
        bare.save(buffer, kind, **options)
        write_whole(Path(path).expanduser(), buffer.getvalue())
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
        free = shutil.disk_usage(Path(path).expanduser().parent).free
    except OSError:
        return f"{cause}."
    return f"{cause} ({free / 1e6:.0f} MB free)."


def _embedded_text(kind: str, provenance: str, parameters: str) -> dict[str, Any]:
    if kind == "PNG":
        info = PngInfo()
        info.add_text("parameters", parameters)
        info.add_itxt(CHUNK, provenance)
        return {"pnginfo": info}
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UNICODE + parameters.encode("utf-16-be")
    # XML forbids two characters that JSON does not escape by itself.
    allowed = provenance.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    xmp = (_XMP % html.escape(allowed, quote=False)).encode()
    return {"exif": exif.tobytes(), "xmp": xmp, **({"quality": 95} if kind == "JPEG" else {"lossless": True})}


def read(source: str | os.PathLike[str] | Image.Image) -> Metadata:
    """Read what a file says about its making; what it says is data and never trusted.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, or a PIL image that was opened from one.

    Returns
    -------
    Metadata
        Our provenance and the generation text, each None where there is none.

    Raises
    ------
    FileError
        Our own text is there and damaged, or a text is larger than 1 MB.
    ImageInputError
        The file cannot be read.
    """
    shown = "The picture" if isinstance(source, Image.Image) else _shown(source)
    try:
        if isinstance(source, Image.Image):
            text, parameters, others = _texts(source)
        else:
            with Image.open(path_of(source), formats=("PNG", "JPEG", "WEBP")) as image:
                text, parameters, others = _texts(image)
    except FileError as error:
        raise ImageInputError(f"{shown} cannot be read: {error}") from None
    except UnidentifiedImageError:
        raise ImageInputError(f"{shown} cannot be read: its content is no PNG, JPEG or WebP picture.") from None
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else "its content is damaged"
        raise ImageInputError(f"{shown} cannot be read: {cause}.") from None
    except ValueError as error:
        if "too large" in str(error) or "too much memory" in str(error):
            raise FileError(f"{shown}: its text is larger than 1 MB; it is not read.") from None
        raise ImageInputError(f"{shown} cannot be read: its content is damaged.") from None
    except Exception as error:  # Pillow's parsers raise many types on hostile bytes.
        raise ImageInputError(f"{shown} cannot be read: {type(error).__name__}.") from None
    for found in (text, parameters, *others.values()):
        if found is not None and (not isinstance(found, str) or len(found) > _LARGEST_TEXT):
            raise FileError("The text in this file is larger than 1 MB or not text; it is not read.")
    return Metadata(Provenance.from_json(text) if text else None, parameters or None, others)


def _texts(image: Image.Image) -> tuple[Any, Any, dict[str, Any]]:
    """Return our JSON, the generation text and those of other tools as they stand in a picture, unchecked."""
    text, parameters = image.info.get(CHUNK), image.info.get("parameters")
    if text is None:
        text = _from_xmp(image.info.get("xmp", b""))
    others = {name: found for name in OTHERS if (found := image.info.get(name))}
    if parameters is None:
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))  # `getexif` would decode a PNG's pixels first.
        tags = exif.get_ifd(ExifTags.IFD.Exif)
        comment, scheme = tags.get(ExifTags.Base.UserComment, b""), tags.get(ExifTags.Base.MakerNote, b"")
        # Fooocus says its scheme where cameras leave notes of their own.
        scheme = scheme.decode("latin-1").strip("\0") if isinstance(scheme, bytes) else scheme
        if scheme in ("fooocus", "a1111"):
            others["fooocus_scheme"] = scheme
        if isinstance(comment, (bytes, str)):
            parameters = _from_comment(comment, "fooocus_scheme" in others)
    return text, parameters, others


def _from_xmp(packet: Any) -> str | None:
    # Cut out, not parsed: XML from strangers can expand without end.
    packet = packet if isinstance(packet, bytes) else str(packet).encode("utf-8", "replace")
    _, opened, rest = packet.partition(f"<{_TAG}>".encode())
    inside, closed, _ = rest.partition(f"</{_TAG}>".encode())
    return html.unescape(inside.decode("utf-8", "replace")) if opened and closed else None


def _from_comment(comment: bytes | str, believed: bool) -> str | None:
    if isinstance(comment, bytes):
        if not comment.startswith(_UNICODE) or len(comment) > 4 * _LARGEST_TEXT:
            return comment.decode("utf-8", "replace") if believed and comment else None
        content = comment.removeprefix(_UNICODE)
        # AUTOMATIC1111 writes big-endian whatever the file says; other tools follow the file.
        little = content[1::2].count(0) > content[::2].count(0)
        comment = content.decode("utf-16-le" if little else "utf-16-be", "replace")
    # Cameras leave comments of their own.
    return comment if believed or looks_like_generation_text(comment) else None

"""Files that know their recipe: PNG, JPEG and WebP with our JSON and the text that other tools read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from .a1111 import generation_text
from .errors import FileError, ImageInputError, NbdiffuseError, breaks_rule
from .recipe import Recipe

FORMAT = 1
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
CHUNK = "nbdiffuse"
_LARGEST_TEXT = 1_000_000
_UNICODE = b"UNICODE\0"


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    Parameters
    ----------
    recipe
        Complete; its pictures stand as content addresses.
    fingerprint
        What else can change the pixels, by name.
    parents
        Content addresses of the pictures it was made from.
    partial
        Step at which a stopped run was kept, or None for a finished one.
    version
        Of nbdiffuse.
    """

    recipe: Recipe
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    partial: int | None = None
    version: str = ""

    def to_json(self) -> str:
        """Return JSON with sorted keys."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "recipe": json.loads(self.recipe.to_json()),
            "fingerprint": dict(self.fingerprint),
            "parents": list(self.parents),
            "version": self.version,
        }
        if self.partial is not None:
            values["partial"] = self.partial
        return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read what `to_json` wrote, or raise an error of ours."""
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise FileError(f"The recipe in this file has format {values['format']!r}; this version reads {FORMAT}.")
            recipe = Recipe.from_json(json.dumps(values["recipe"]))
            fingerprint = {str(key): str(value) for key, value in values.get("fingerprint", {}).items()}
            partial = values.get("partial")
            return cls(recipe, fingerprint, tuple(map(str, values.get("parents", ()))), partial, str(values.get("version", "")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, NbdiffuseError):
                raise
            raise FileError(f"The recipe in this file is damaged: {type(error).__name__}.") from None


@dataclass(frozen=True)
class Metadata:
    """What a file says: our provenance, and the generation text of other tools; each None where there is none."""

    provenance: Provenance | None
    parameters: str | None


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return the format that a file name's suffix asks for, or raise `FileError`."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FileError(breaks_rule("save", f"a file name that ends in {', '.join(SUFFIXES)}", os.fspath(path)))
    return SUFFIXES[suffix]


def write(image: Image.Image, path: str | os.PathLike[str], provenance: Provenance) -> None:
    """Save a picture with its provenance; the file is whole or not there, and a failure spares the old one.

    Parameters
    ----------
    image
        RGB, any size.
    path
        Ends in .png, .jpg, .jpeg (quality 95) or .webp (lossless).
    provenance
        Written as JSON beside the generation text.

    Raises
    ------
    FileError
        The suffix is another one, or the file cannot be written.
    """
    kind = check_suffix(path)
    target = Path(path).expanduser()
    options = _embedded_text(kind, provenance.to_json(), generation_text(provenance.recipe, provenance.version))
    draft: str | None = None
    try:
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".nbdiffuse-", suffix=target.suffix)
        with os.fdopen(handle, "wb") as file:
            image.save(file, kind, **options)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner reads; a saved picture gets what the user's umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, target)
    except (OSError, ValueError) as error:
        if draft is not None and os.path.exists(draft):
            os.unlink(draft)
        raise FileError(f"{target} cannot be written: {_cause(error, target)} The picture is still in memory.") from None


def _cause(error: Exception, target: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"the folder {target.parent} does not exist."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"no space is left ({shutil.disk_usage(target.parent).free / 1e6:.0f} MB free)."
    return f"{getattr(error, 'strerror', None) or error}."


def _embedded_text(kind: str, provenance: str, parameters: str) -> dict[str, Any]:
    if kind == "PNG":
        info = PngInfo()
        info.add_text("parameters", parameters)
        info.add_itxt(CHUNK, provenance)
        return {"pnginfo": info}
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UNICODE + parameters.encode("utf-16-be", "replace")
    exif[ExifTags.Base.ImageDescription] = f"{CHUNK}:{json.dumps(json.loads(provenance))}"
    return {"exif": exif, **({"quality": 95} if kind == "JPEG" else {"lossless": True})}


def read(source: str | os.PathLike[str] | Image.Image) -> Metadata:
    """Read what a file says about its making.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, or a PIL image that was opened from one.

    Raises
    ------
    FileError
        Our own text is there and damaged.
    ImageInputError
        The file cannot be read.
    """
    if isinstance(source, Image.Image):
        return _read(source)
    try:
        with Image.open(source, formats=("PNG", "JPEG", "WEBP")) as image:
            return _read(image)
    except NbdiffuseError:
        raise
    except Exception as error:  # Pillow's parsers raise many types on hostile bytes
        raise ImageInputError(f"{os.fspath(source)} cannot be read: {type(error).__name__}.") from None


def _read(image: Image.Image) -> Metadata:
    text, parameters = image.info.get(CHUNK), image.info.get("parameters")
    if text is None and parameters is None:
        exif = image.getexif()
        comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
        if isinstance(comment, bytes) and comment.startswith(_UNICODE):
            parameters = comment.removeprefix(_UNICODE).decode("utf-16-be", "replace")
        description = exif.get(ExifTags.Base.ImageDescription, "")
        text = description.removeprefix(f"{CHUNK}:") if str(description).startswith(f"{CHUNK}:") else None
    for found in (text, parameters):
        if found is not None and (not isinstance(found, str) or len(found) > _LARGEST_TEXT):
            raise FileError("The text in this file is larger than 1 MB or not text; it is not read.")
    return Metadata(Provenance.from_json(text) if text else None, parameters or None)

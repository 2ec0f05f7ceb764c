"""Reader: any file, bytes, array or PIL image becomes upright sRGB, or one line that says why not."""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..embedded import examples
from ..errors import FileError, ImageInputError, Words, breaks_rule
from ..files.paths import path_of
from .arrays import check_shape
from .conversion import Conversion
from .stripping import stripped

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""The only file formats that are parsed; the content decides, not the file's name."""
MAX_PIXELS = 100_000_000
"""Largest picture that is taken in without asking for more: what the largest cameras make."""
PILLOW_LIMIT = 178_956_970
"""Pixels beyond which Pillow itself opens nothing."""

# Silencing warnings is process-wide before Python 3.14: one picture is read at a time.
_one_at_a_time = threading.Lock()
_urls_allowed = False


def allow_urls(allowed: bool) -> None:
    """Allow or forbid https URLs as pictures in this process; they are forbidden at first."""
    global _urls_allowed
    _urls_allowed = bool(allowed)


def open_header(file: Any, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Open a picture without decoding it, as `Image.open` does, and without its warning about sizes that are taken in."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=tuple(formats))


def check_rgb(image: Image.Image) -> None:
    """Refuse a PIL image of another mode than RGB."""
    if image.mode != "RGB":
        raise ImageInputError(breaks_rule("image", "an RGB picture", image.mode, "Use Picture.of(image).image."))


class ImageReader:
    """One picture on its way in: where it comes from, and what it has to be told about."""

    def __init__(self, source: Any, background: tuple[int, int, int], max_pixels: int, notices: list[str]) -> None:
        self.source, self.max_pixels, self.notices = source, max_pixels, notices
        self.shown: Any = source
        self._conversion = Conversion(background, self.refusal, notices)

    @property
    def painted(self) -> tuple[Image.Image, str] | None:
        """After `read`, what a picture with transparent pixels says as a mask."""
        return self._conversion.painted

    @property
    def alpha(self) -> Image.Image | None:
        """The opacity of a picture that was read, upright, L; None where all of it is opaque."""
        return self._conversion.alpha

    def read(self) -> tuple[Image.Image, str]:
        """Return the picture, RGB and free of metadata, and its name."""
        source = self.source
        if isinstance(source, Image.Image):
            self.shown = Words(f"a PIL image, {source.mode}, {source.width}x{source.height}")
            return self._guarded(self._from_pil, source), os.path.basename(str(getattr(source, "filename", "")))
        if isinstance(source, np.ndarray):
            self.shown = Words(f"an array of shape {source.shape}, {source.dtype}")
            return self._guarded(self._from_array, source), ""
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.shown = Words(f"{memoryview(source).nbytes:,} bytes")
            return self._guarded(lambda data: self._from_file(io.BytesIO(data)), source), ""
        if isinstance(source, str) and source.startswith(examples.MARK):
            return examples.example(source), source
        if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", source):
            return self._from_url(source)
        if isinstance(source, (str, os.PathLike)):
            return self._guarded(self._from_path, source), os.path.basename(os.fsdecode(source))
        raise self.refusal("a PIL image, path, bytes or numpy array", self._hint())

    def refusal(self, rule: str, way_out: str = "") -> ImageInputError:
        return ImageInputError(breaks_rule("image", rule, self.shown, way_out))

    def _hint(self) -> str:
        kind = type(self.source)
        self.shown = Words(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
        if kind.__module__.startswith("torch"):
            return "Give tensor.permute(1, 2, 0).cpu().numpy() with values in [0, 1]."
        if isinstance(self.source, (list, tuple)):
            return "Give one of its items."
        return "Give its bytes: file.read()." if hasattr(self.source, "read") else ""

    def _guarded(self, read: Callable[[Any], Image.Image], source: Any) -> Image.Image:
        """Read with no warning and no error but ours getting out."""
        cause = ""
        try:
            with _one_at_a_time, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read(source)
        except ImageInputError:
            raise
        except UnidentifiedImageError:
            rule = f"a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
            raise self.refusal(rule, "Its content is none of them, whatever its name. Convert it first.") from None
        except Image.DecompressionBombError:
            raise self._too_large(f"over {PILLOW_LIMIT:,}") from None
        except MemoryError:
            cause = "it does not fit in memory"
        except Exception as error:  # Decoders raise nearly anything on damaged files.
            if isinstance(error, OSError) and error.strerror:
                raise self.refusal("a file that can be read", f"The system says: {error.strerror}.") from None
            cause = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise self.refusal("a whole picture that can be read", f"Reading it failed: {cause}. Download or save it again.")

    def _too_large(self, pixels: str) -> ImageInputError:
        rule = f"a picture of at most {self.max_pixels:,} pixels"
        return self.refusal(rule, f"It has {pixels}. Make it smaller, or use Picture.of(..., max_pixels=...).")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise self._too_large(f"{width}x{height} = {width * height:,}")

    def _from_url(self, url: str) -> tuple[Image.Image, str]:
        if url.startswith("data:"):
            return self._from_data(url), ""
        from ..files import downloads  # Few processes ever need ssl and http.

        self.shown = downloads.shown(url)
        if not url.lower().startswith("https://"):
            raise self.refusal("a path, or an https URL", "Save the picture yourself and give its path.")
        if not _urls_allowed:
            way_out = "Give a file's path, or allow downloads: nbdiffuse.images.reader.allow_urls(True)."
            raise self.refusal("a local picture", way_out)
        body = downloads.fetch(url)
        return self._guarded(self._from_file, io.BytesIO(body)), os.path.basename(unquote(urlsplit(url).path))

    def _from_data(self, url: str) -> Image.Image:
        """Read a picture that a text holds, as the API of AUTOMATIC1111 and web pages write it."""
        self.shown = Words("data:…")
        kind, _, content = url.partition(",")
        try:
            data = base64.b64decode("".join(content.split()), validate=True) if kind.endswith(";base64") else b""
        except binascii.Error:
            data = b""
        if not data:
            raise self.refusal("a data URL such as data:image/png;base64,… with its whole content", "Copy all of it.")
        return self._guarded(self._from_file, io.BytesIO(data))

    def _from_path(self, source: str | os.PathLike[Any]) -> Image.Image:
        if not os.fspath(source):
            raise self.refusal("the path of a picture")
        self.shown = os.fsdecode(source)
        try:
            path = path_of(self.shown, "image")
        except FileError as error:
            raise ImageInputError(str(error)) from None
        try:
            kind = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise self.refusal("a file that exists", _nearest(path)) from None
        if stat.S_ISDIR(kind):
            raise self.refusal("a file, not a folder", "Give one of the pictures in it.")
        if not stat.S_ISREG(kind):
            raise self.refusal("a regular file", "Pipes and devices are not read.")
        with path.open("rb") as file:
            return self._from_file(file)

    def _from_file(self, file: Any) -> Image.Image:
        try:
            return self._opened(file)
        except (ImageInputError, Image.DecompressionBombError, MemoryError):
            raise
        except Exception as error:  # Decoders raise nearly anything on damaged files, metadata included.
            failure = error
        told = len(self.notices)
        for rest in stripped(file):
            del self.notices[told:]
            try:
                image = self._opened(rest.file, rest.profile)
            except (ImageInputError, Image.DecompressionBombError, MemoryError):
                raise
            except Exception:
                continue
            self.notices += [rest.notice] if rest.notice else []
            return image
        raise failure

    def _opened(self, file: Any, profile: bytes | None = None) -> Image.Image:
        """Decode a file; a `profile` that was read by itself is its colour profile."""
        with Image.open(file, formats=FORMATS) as image:
            if profile is not None:
                image.info["icc_profile"] = profile
            if getattr(image, "is_animated", False) and image.format != "MPO":  # An MPO's other frames are depth and the like.
                self.notices.append(f"the first of {getattr(image, 'n_frames', 'several')} frames is used")
            return self._from_pil(image, owned=True)

    def _from_pil(self, image: Image.Image, owned: bool = False) -> Image.Image:
        self._check_size(*image.size)
        return self._conversion.of_image(image, owned)

    def _from_array(self, array: np.ndarray[Any, Any]) -> Image.Image:
        check_shape(array, self.refusal)
        self._check_size(array.shape[1], array.shape[0])
        return self._conversion.of_array(array)


def _nearest(path: Path) -> str:
    """Name the file that was meant, if one is near."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {str(folder)!r}."
    names = {entry.name.lower(): entry.name for entry in folder.iterdir()}
    near = difflib.get_close_matches(path.name.lower(), names, n=1, cutoff=0.6)
    return f"Did you mean {str(folder / names[near[0]])!r}?" if near else f"Paths start at {str(Path.cwd())!r}."

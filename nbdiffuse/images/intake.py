"""Pictures on their way in: any file, bytes, array or PIL image as upright sRGB, or one line that says why not."""

from __future__ import annotations

import difflib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from ..errors import ImageInputError, Words, breaks_rule

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""The only file formats that are parsed; the content decides, not the file's name."""
MAX_PIXELS = 40_000_000
PILLOW_LIMIT = 178_956_970
"""Pixels beyond which Pillow itself opens nothing."""
WHITE = (255, 255, 255)
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""

# Silencing warnings is process-wide before Python 3.14: one intake at a time.
_intake = threading.Lock()
_urls_allowed = False


def allow_urls(allowed: bool) -> None:
    """Allow or forbid https URLs as pictures in this process; they are forbidden at first."""
    global _urls_allowed
    _urls_allowed = bool(allowed)


def check_rgb(image: Image.Image) -> None:
    """Refuse a PIL image of another mode than RGB."""
    if image.mode != "RGB":
        raise ImageInputError(breaks_rule("image", "an RGB picture", image.mode, "Use Picture.of(image).image."))


class Intake:
    """One picture on its way in: where it comes from, and what it has to be told about."""

    def __init__(self, source: Any, background: tuple[int, int, int], max_pixels: int, notices: list[str]) -> None:
        self.source, self.background, self.max_pixels, self.notices = source, background, max_pixels, notices
        self.shown: Any = source

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
            with _intake, warnings.catch_warnings():
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
        from ..files import downloads  # Few processes ever need ssl and http.

        self.shown = "data:…" if url.startswith("data:") else downloads.shown(url)
        if not url.lower().startswith("https://"):
            raise self.refusal("a path, or an https URL", "Save the picture yourself and give its path.")
        if not _urls_allowed:
            way_out = "Give a file's path, or allow downloads: nbdiffuse.images.intake.allow_urls(True)."
            raise self.refusal("a local picture", way_out)
        body = downloads.fetch(url)
        return self._guarded(self._from_file, io.BytesIO(body)), os.path.basename(unquote(urlsplit(url).path))

    def _from_path(self, source: str | os.PathLike[Any]) -> Image.Image:
        if not os.fspath(source):
            raise self.refusal("the path of a picture")
        self.shown = os.fsdecode(source)
        path = Path(self.shown).expanduser()
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
        with Image.open(file, formats=FORMATS) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":  # An MPO's other frames are depth and the like.
                self.notices.append(f"the first of {getattr(image, 'n_frames', 'several')} frames is used")
            return self._from_pil(image, owned=True)

    def _from_pil(self, image: Image.Image, owned: bool = False) -> Image.Image:
        self._check_size(*image.size)
        # Loading forgets how the file stored its samples.
        samples = "".join(str(getattr(tile, "args", "")) for tile in getattr(image, "tile", ()))
        image.load()
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # Metadata that lies must not cost the picture.
            orientation = 1
            self.notices.append("damaged EXIF data is ignored")
        profile = image.info.get("icc_profile")
        # Converting a palette with transparency writes into the palette.
        rgb = self._opaque(image if owned else image.copy(), profile, samples)
        upright = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
        rgb = rgb if upright is None else rgb.transpose(upright)
        rgb.info = {}
        return rgb

    def _opaque(self, image: Image.Image, profile: bytes | None, samples: str) -> Image.Image:
        colour, alpha = self._layers(image, samples)
        if profile:
            colour = self._in_srgb(colour, profile)
        rgb = colour.convert("RGB")
        return rgb if alpha is None else self._composite(rgb, alpha)

    def _layers(self, image: Image.Image, samples: str) -> tuple[Image.Image, Image.Image | None]:
        """Split a picture into 8-bit L, RGB or CMYK without transparency, and its alpha as L."""
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return self._from_deep(image, 4095 if "I;12" in samples else 65535)
        if ";16" in samples:  # Colour: Pillow keeps the high byte, at most 1 off from x/257.
            self.notices.append("16-bit values are scaled to 8 bits")
        if image.has_transparency_data:
            grey = image.mode in ("1", "L", "La", "LA")
            rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            return rgba.convert("L" if grey else "RGB"), rgba.getchannel("A")
        if image.mode in ("L", "RGB", "CMYK"):
            return image, None
        return image.convert("L" if image.mode == "1" else "RGB"), None

    def _from_deep(self, image: Image.Image, top: int) -> tuple[Image.Image, Image.Image | None]:
        values = np.asarray(image)
        key = image.info.get("transparency")
        alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)) if isinstance(key, int) else None
        return Image.fromarray(self._to_bytes(values, top)), alpha

    def _in_srgb(self, image: Image.Image, profile: bytes) -> Image.Image:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            name = "".join(char for char in ImageCms.getProfileDescription(source).strip() if char.isprintable())[:60]
            if name.startswith("sRGB") and image.mode != "CMYK":
                return image
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except Exception:  # lcms and its wrapper raise several kinds on damaged profiles.
            converted = None
        if converted is None:
            self.notices.append("a colour profile that does not fit is ignored")
            return image
        self.notices.append(f"colours are converted to sRGB from {name or 'an unnamed profile'}")
        return converted

    def _composite(self, rgb: Image.Image, alpha: Image.Image) -> Image.Image:
        if alpha.getextrema()[0] == 255:
            return rgb
        name = "white" if self.background == WHITE else f"rgb{tuple(self.background)}"
        self.notices.append(f"transparent pixels are composited on {name}")
        canvas = Image.new("RGB", rgb.size, tuple(self.background))
        canvas.paste(rgb, mask=alpha)
        return canvas

    def _from_array(self, array: np.ndarray[Any, Any]) -> Image.Image:
        shape = array.shape
        if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
            raise self.refusal("an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)", _shape_hint(shape))
        self._check_size(shape[1], shape[0])
        values = np.asarray(array).reshape(shape[:2]) if shape[2:] == (1,) else np.asarray(array)
        pixels = np.ascontiguousarray(self._to_bytes(values, 65535))
        return self._opaque(Image.fromarray(pixels), None, "")

    def _to_bytes(self, values: np.ndarray[Any, Any], top: int) -> np.ndarray[Any, Any]:
        """Scale [0, top] integers, [0, 1] floats or bools to [0, 255], rounded to the nearest."""
        kind = values.dtype
        if kind == np.uint8:
            return values
        if kind == np.bool_:
            return values.astype(np.uint8) * np.uint8(255)
        if kind.kind == "f":
            self._check_range(values, 1)
            return np.rint(values * np.float32(255)).astype(np.uint8)
        if kind.newbyteorder("=") != np.uint16 and (kind != np.int32 or isinstance(self.source, np.ndarray)):
            raise self.refusal("an array of uint8, uint16, bool or float", 'Use array.astype("uint8") for values in [0, 255].')
        self._check_range(values, top)
        self.notices.append(f"{'12' if top == 4095 else '16'}-bit values are scaled to 8 bits")
        return ((values.astype(np.uint32) * 510 + top) // (2 * top)).astype(np.uint8)

    def _check_range(self, values: np.ndarray[Any, Any], top: int) -> None:
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
        raise self.refusal(f"a picture with values in [0, {top}]", f"They lie in [{low:.9g}, {high:.9g}]. {way_out}")


def _nearest(path: Path) -> str:
    """Name the file that was meant, if one is near."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {str(folder)!r}."
    names = {entry.name.lower(): entry.name for entry in folder.iterdir()}
    near = difflib.get_close_matches(path.name.lower(), names, n=1, cutoff=0.6)
    return f"Did you mean {str(folder / names[near[0]])!r}?" if near else f"Paths start at {str(Path.cwd())!r}."


def _shape_hint(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "It is empty."
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "Channels come last: use array.transpose(1, 2, 0)."
    if len(shape) == 4:
        return "Give one picture of the batch: array[0]."
    return "Channels come last; there are 1, 3 or 4."

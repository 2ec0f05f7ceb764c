"""Image intake: whatever holds a picture becomes upright sRGB, known by the hash of its pixels."""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import re
import stat
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from .errors import ImageInputError, ParameterError, breaks_rule, did_you_mean

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""The only file formats that are parsed; the content decides, not the file's name."""
MAX_PIXELS = 40_000_000
PILLOW_LIMIT = 178_956_970
"""Pixels beyond which Pillow itself opens nothing."""
MIN_SIDE, MAX_SIDE = 64, 4096
WHITE = (255, 255, 255)
RESIZE_MODES = ("fit", "crop", "pad")
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

_registry: weakref.WeakValueDictionary[str, Image.Image] = weakref.WeakValueDictionary()
# Silencing warnings is process-wide before Python 3.14: one intake at a time.
_intake = threading.Lock()
_urls_allowed = False


class _Words(str):
    """Text that an error shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def allow_urls(allowed: bool) -> None:
    """Allow or forbid https URLs as pictures in this process; they are forbidden at first."""
    global _urls_allowed
    _urls_allowed = bool(allowed)


def content_address(image: Image.Image) -> str:
    """Return what a picture is known by: the sha256 of its size and pixels.

    Parameters
    ----------
    image
        RGB picture of any size.

    Returns
    -------
    str
        "sha256:" and 64 hexadecimal digits, over "<width>x<height>:" in ASCII and
        the RGB bytes, row by row from the top.

    Raises
    ------
    ImageInputError
        The mode is not RGB.
    """
    _check_rgb(image)
    width, height = image.size
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    for top in range(0, height, 1024):  # In strips, so that a large picture is not copied whole.
        digest.update(image.crop((0, top, width, min(top + 1024, height))).tobytes())
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture as a value: equal to another iff size and pixels are.

    Its pixels live as long as a `Picture` made from them does; in between, a
    picture made from the address alone finds them.

    Parameters
    ----------
    address
        "sha256:" and 64 hexadecimal digits, see `content_address`.
    label
        Short name to show; not compared.
    notices
        What was done to the source that a person should know; not compared.

    Raises
    ------
    ImageInputError
        The address is malformed.
    """

    address: str
    label: str = field(default="", compare=False)
    notices: tuple[str, ...] = field(default=(), compare=False, kw_only=True)
    _pixels: Image.Image | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.address, str) or not re.fullmatch("sha256:[0-9a-f]{64}", self.address):
            way_out = "Use Picture.of(...) to take in a file, a PIL image or an array."
            raise ImageInputError(breaks_rule("address", "sha256: and 64 hexadecimal digits", self.address, way_out))
        # Control and direction marks in a file's name must not reach labels.
        label = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(self.label))
        object.__setattr__(self, "label", label)
        self._found()

    @classmethod
    def of(
        cls, source: Any, label: str | None = None, *, background: tuple[int, int, int] = WHITE, max_pixels: int = MAX_PIXELS
    ) -> Picture:
        """Take in a picture from wherever it is.

        Parameters
        ----------
        source
            A PIL image of any mode; a path; the bytes of a PNG, JPEG, WEBP, GIF,
            TIFF, BMP or AVIF file; an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
            of uint8, uint16 in [0, 65535], bool, or floats in [0, 1]; a `Picture` or
            its address; or, after `allow_urls(True)`, an https URL.
        label
            Short name to show; the file's name when None.
        background
            RGB in [0, 255] that shows through transparent pixels.
        max_pixels
            Largest width x height, in [1, 178956970] pixels; a file's is read from
            its header, before it is decoded.

        Returns
        -------
        Picture
            Upright sRGB: EXIF orientation and colour profile applied, more than 8
            bits scaled down (integers are 16-bit, in [0, 65535]; floats in [0, 1]),
            the first frame of an animation. `notices` says what was lost.

        Raises
        ------
        ImageInputError
            There is no picture, or not one that can be taken in whole.
        """
        if not (isinstance(max_pixels, int) and 1 <= max_pixels <= PILLOW_LIMIT):
            raise ImageInputError(breaks_rule("max_pixels", f"a whole number in [1, {PILLOW_LIMIT}]", max_pixels))
        if len(background) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in background):
            raise ImageInputError(breaks_rule("background", "three whole numbers in [0, 255]", background))
        if isinstance(source, Picture):
            return source if label is None else cls(source.address, label, notices=source.notices, _pixels=source._pixels)
        if isinstance(source, str) and source.startswith("sha256:"):
            return cls(source, label or "")
        notices: list[str] = []
        image, name = _Intake(source, background, max_pixels, notices).read()
        address = content_address(image)
        pixels = _registry.setdefault(address, image)
        return cls(address, name if label is None else label, notices=tuple(notices), _pixels=pixels)

    @property
    def image(self) -> Image.Image:
        """The pixels: a PIL image, RGB, the caller's own copy."""
        return self._held().copy()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._held().size

    def _held(self) -> Image.Image:
        pixels = self._found()
        if pixels is None:
            rule = "a picture whose pixels this process has seen"
            way_out = "Take in its file again with Picture.of(...), and keep what it returns."
            raise ImageInputError(breaks_rule("image", rule, self.address, way_out))
        return pixels

    def _found(self) -> Image.Image | None:
        if self._pixels is None:  # They may have come in since.
            object.__setattr__(self, "_pixels", _registry.get(self.address))
        return self._pixels

    def __repr__(self) -> str:
        pixels = self._found()
        parts = [repr(self.label)] if self.label else []
        parts += [f"{pixels.width}x{pixels.height}"] if pixels else []
        return f"Picture({', '.join([*parts, self.address[:15] + '…'])})"

    def _repr_png_(self) -> bytes | None:
        """Show the picture itself in a notebook."""
        pixels = self._found()
        if pixels is None:
            return None
        file = io.BytesIO()
        pixels.save(file, "PNG", compress_level=1)
        return file.getvalue()

    def __deepcopy__(self, memo: dict[int, Any]) -> Picture:
        return self

    def __reduce__(self) -> tuple[Callable[..., Picture], tuple[str, str, tuple[str, ...], bytes | None]]:
        return _unpickled, (self.address, self.label, self.notices, self._repr_png_())


def _unpickled(address: str, label: str, notices: tuple[str, ...], png: bytes | None) -> Picture:
    if png is None:
        return Picture(address, label, notices=notices)
    carried = Picture.of(png, label, max_pixels=PILLOW_LIMIT)
    if carried.address != address:
        raise ImageInputError(breaks_rule("image", f"the picture {address[:15]}…", carried.address, "Its pixels were altered."))
    return Picture(address, label, notices=notices, _pixels=carried._pixels)


def _check_rgb(image: Image.Image) -> None:
    if image.mode != "RGB":
        raise ImageInputError(breaks_rule("image", "an RGB picture", image.mode, "Use Picture.of(image).image."))


class _Intake:
    """One picture on its way in: where it comes from, and what it has to be told about."""

    def __init__(self, source: Any, background: tuple[int, int, int], max_pixels: int, notices: list[str]) -> None:
        self.source, self.background, self.max_pixels, self.notices = source, background, max_pixels, notices
        self.shown: object = source

    def read(self) -> tuple[Image.Image, str]:
        """Return the picture, RGB and free of metadata, and its name."""
        source = self.source
        if isinstance(source, Image.Image):
            self.shown = _Words(f"a PIL image, {source.mode}, {source.width}x{source.height}")
            return self._guarded(self._from_pil, source), os.path.basename(str(getattr(source, "filename", "")))
        if isinstance(source, np.ndarray):
            self.shown = _Words(f"an array of shape {source.shape}, {source.dtype}")
            return self._guarded(self._from_array, source), ""
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.shown = _Words(f"{memoryview(source).nbytes:,} bytes")
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
        self.shown = _Words(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
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
            cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise self.refusal("a whole picture that can be read", f"Reading it failed: {cause}. Download or save it again.")

    def _too_large(self, pixels: str) -> ImageInputError:
        rule = f"a picture of at most {self.max_pixels:,} pixels"
        return self.refusal(rule, f"It has {pixels}. Make it smaller, or use Picture.of(..., max_pixels=...).")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise self._too_large(f"{width}x{height} = {width * height:,}")

    def _from_url(self, url: str) -> tuple[Image.Image, str]:
        from . import downloads  # Few processes ever need ssl and http.

        self.shown = "data:…" if url.startswith("data:") else downloads.shown(url)
        if not url.lower().startswith("https://"):
            raise self.refusal("a path, or an https URL", "Save the picture yourself and give its path.")
        if not _urls_allowed:
            way_out = "Give a file's path, or allow downloads: nbdiffuse.images.allow_urls(True)."
            raise self.refusal("a local picture", way_out)
        body = downloads.fetch(url)
        return self._guarded(self._from_file, io.BytesIO(body)), os.path.basename(unquote(urlsplit(url).path))

    def _from_path(self, source: str | os.PathLike[Any]) -> Image.Image:
        if not os.fspath(source):
            raise self.refusal("the path of a picture")
        path = Path(os.fsdecode(source)).expanduser()
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
            # Without its own info a copy has no `transparency` for Pillow to carry on.
            rgba.info = {}
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


def fitted_size(
    size: tuple[int, int], *, width: int | None, height: int | None, multiple: int, limit: int | None = None
) -> tuple[int, int]:
    """Return the size that a run uses for an initial picture.

    Width and height, when given, are used. From one of them the other follows by
    the proportions, rounded to the nearest multiple. Without either, a picture
    whose longer side is over the limit is scaled down to it and each side rounded
    to the nearest multiple; any other keeps its size, each side rounded down to a
    multiple, as diffusers does (`VaeImageProcessor.get_default_height_width`).

    Parameters
    ----------
    size
        Width and height of the picture, in pixels, at least 1.
    width, height
        What was asked for, in [64, 4096] pixels, multiples of `multiple`, or None.
    multiple
        What both sides must be multiples of, in pixels, at least 1.
    limit
        Longer side that the model was made for, in pixels, or None.

    Returns
    -------
    tuple of int
        Width and height, multiples of `multiple` in [64, 4096].

    Raises
    ------
    ParameterError
        A side leaves that range or is no multiple.
    """
    own_width, own_height = size
    for name, side in (("width", width), ("height", height)):
        if side is not None and (side % multiple or not MIN_SIDE <= side <= MAX_SIDE):
            raise ParameterError(breaks_rule(name, f"a multiple of {multiple} in [{MIN_SIDE}, {MAX_SIDE}]", side))
    if width and height:
        return width, height
    longer = max(size)
    if width:
        chosen = width, _to_multiple(width * own_height, own_width, multiple)
    elif height:
        chosen = _to_multiple(height * own_width, own_height, multiple), height
    elif limit is None or longer <= limit:
        chosen = own_width // multiple * multiple, own_height // multiple * multiple
    else:
        highest = limit // multiple * multiple
        chosen = (
            min(_to_multiple(limit * own_width, longer, multiple), highest),
            min(_to_multiple(limit * own_height, longer, multiple), highest),
        )
    if min(chosen) < MIN_SIDE or max(chosen) > MAX_SIDE:
        rule = f"a picture that runs at [{MIN_SIDE}, {MAX_SIDE}] pixels a side"
        shown = _Words(f"{own_width}x{own_height}, which gives {chosen[0]}x{chosen[1]}")
        raise ParameterError(breaks_rule("image", rule, shown, 'Give `width` and `height`, with `resize_mode` "crop" or "pad".'))
    return chosen


def _to_multiple(numerator: int, denominator: int, multiple: int) -> int:
    """Round a fraction to the nearest multiple, halves up."""
    step = denominator * multiple
    return (2 * numerator + step) // (2 * step) * multiple


def fit(image: Image.Image, size: tuple[int, int], mode: str = "fit", background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Bring a picture to a size.

    Parameters
    ----------
    image
        RGB picture of any size.
    size
        Width and height in pixels, at least 1.
    mode
        "fit" resizes to exactly that size as diffusers does (`VaeImageProcessor.resize`,
        Lanczos), keeping everything; "crop" fills the size, keeping the proportions
        and the centre; "pad" keeps everything and the proportions, between borders.
    background
        RGB in [0, 255] of the borders.

    Returns
    -------
    PIL.Image.Image
        RGB, of that size; a copy with the same pixels if it was that size.

    Raises
    ------
    ParameterError
        The mode is unknown.
    ImageInputError
        The picture's mode is not RGB.
    """
    _check_rgb(image)
    if mode not in RESIZE_MODES:
        rule = f"one of {', '.join(RESIZE_MODES)}"
        raise ParameterError(breaks_rule("resize_mode", rule, mode, did_you_mean(str(mode), RESIZE_MODES)))
    lanczos = Image.Resampling.LANCZOS
    (own_width, own_height), (width, height) = image.size, size
    if mode == "crop":
        # One step from the middle part: no second rounding.
        scale = min(own_width / width, own_height / height)
        left, top = (own_width - width * scale) / 2, (own_height - height * scale) / 2
        box = (max(left, 0), max(top, 0), min(own_width - left, own_width), min(own_height - top, own_height))
        return image.resize(size, lanczos, box=box)
    if mode == "pad":
        scale = min(width / own_width, height / own_height)
        inner = (max(1, round(own_width * scale)), max(1, round(own_height * scale)))
        canvas = Image.new("RGB", size, background)
        canvas.paste(image.resize(inner, lanczos), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    return image.resize(size, lanczos)

"""Any file, bytes, array or PIL image as upright sRGB pixels, or one clear line that says why not."""

from __future__ import annotations

import difflib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from .errors import ImageInputError, breaks_rule

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""Formats that are read; every other parser of Pillow stays shut."""


def opened(source: Any, max_pixels: int) -> tuple[str, Image.Image]:
    """Return a name and a PIL image, not yet decoded where it comes from a file."""
    if isinstance(source, Image.Image):
        return "", source
    if isinstance(source, np.ndarray):
        return "", _from_array(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "", _from_file(io.BytesIO(bytes(source)), f"{len(source)} bytes", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source), max_pixels)
    raise ImageInputError(breaks_rule("image", "a file, bytes, a PIL image or a numpy array", source))


def _from_path(text: str | bytes, max_pixels: int) -> tuple[str, Image.Image]:
    shown = os.fsdecode(text)
    if "://" in shown[:12]:
        raise ImageInputError(breaks_rule("image", "a file on this machine", shown, "Download it first; URLs are never fetched."))
    path = Path(shown).expanduser() if "\0" not in shown else None
    if path is None or not _exists(path):
        raise ImageInputError(breaks_rule("image", "a file or the name of a variable", shown, _nearest_file(path)))
    if path.is_dir():
        raise ImageInputError(breaks_rule("image", "a file, not a folder", shown))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageInputError(f"`image` cannot be read from {shown}: {error.strerror or error}.") from None
    return path.name, _from_file(io.BytesIO(data), shown, max_pixels)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _nearest_file(path: Path | None) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()] if path else []
    except (OSError, ValueError):
        names = []
    near = difflib.get_close_matches(path.name, names, n=1) if path else []
    return f"Did you mean {near[0]!r}?" if near else ""


def _from_file(file: io.BytesIO, shown: str, max_pixels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=FORMATS)
        except Exception as error:  # Pillow's parsers raise many types on hostile bytes
            cause = (
                "it is too large"
                if isinstance(error, Image.DecompressionBombError)
                else "its format is not known or it is damaged"
            )
            raise ImageInputError(f"`image` cannot be read from {shown}: {cause}. Readable: {', '.join(FORMATS)}.") from None
    if image.width * image.height > max_pixels:
        size = f"{image.width}x{image.height} pixels"
        raise ImageInputError(breaks_rule("image", f"at most {max_pixels / 1e6:g} megapixels", size, "Make it smaller first."))
    return image


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        hint = "Move the channels last." if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        hint = "Give one picture of the batch." if array.ndim == 4 else hint
        raise ImageInputError(breaks_rule("image", "an array of shape (h, w), (h, w, 3) or (h, w, 4)", array.shape, hint))
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _eight_bits(array)
    elif np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            found = f"values from {low:g} to {high:g}"
            raise ImageInputError(breaks_rule("image", "a float array in [0, 1]", found, "Divide by 255, or convert to uint8."))
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageInputError(breaks_rule("image", "an array of uint8, uint16, bool or float", str(array.dtype)))
    return Image.fromarray(np.ascontiguousarray(array))


def _eight_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scale 16-bit values to 8 bits: x / 257, rounded, so that white stays white."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def upright_srgb(name: str, image: Image.Image, background: tuple[int, int, int], notices: list[str]) -> Image.Image:
    """Decode, turn upright, and bring to RGB in sRGB, never touching the caller's image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                notices.append(f"{name or 'The picture'} has {frames} frames; the first is used.")
                image.seek(0)
            image.load()
            profile = image.info.get("icc_profile")
            upright = ImageOps.exif_transpose(image)
            return _flattened(_in_srgb(_plain(upright, notices), profile, notices), background, notices)
        except (ImageInputError, MemoryError):
            raise
        except Exception as error:  # as above
            raise ImageInputError(
                f"`image` cannot be decoded{' from ' + name if name else ''}: {error}.".replace("\n", " ")
            ) from None


def _plain(image: Image.Image, notices: list[str]) -> Image.Image:
    """Bring unusual modes to L, RGB, RGBA, LA, CMYK or LAB without losing their range."""
    mode = image.mode
    if mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ImageInputError(breaks_rule("image", "integers in [0, 65535]", f"{values.min()} to {values.max()}"))
        notices.append("16-bit values were scaled to 8 bits.")
        return Image.fromarray(_eight_bits(values))
    if mode == "F":
        return _from_array(np.asarray(image))
    if mode in ("P", "PA"):
        return image.convert("RGBA" if "transparency" in image.info or mode == "PA" else "RGB")
    if mode in ("1", "HSV", "YCbCr", "RGBX"):
        return image.convert("RGB")
    if mode in ("La", "RGBa"):
        return image.convert("LA" if mode == "La" else "RGBA")
    if mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _in_srgb(image: Image.Image, profile: bytes | None, notices: list[str]) -> Image.Image:
    wanted = "RGBA" if image.mode in ("RGBA", "LA") else "RGB"
    if profile and image.mode in ("L", "RGB", "RGBA", "CMYK", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image.convert("RGB") if image.mode == "RGBA" else image, source, _SRGB, outputMode="RGB"
            )
            if converted is not None:
                if image.mode == "RGBA":
                    converted.putalpha(image.getchannel("A"))
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notices.append("The colour profile cannot be used; colours are taken as sRGB.")
    return image if image.mode == wanted else image.convert(wanted)


_SRGB = ImageCms.createProfile("sRGB")


def _flattened(image: Image.Image, background: tuple[int, int, int], notices: list[str]) -> Image.Image:
    if image.mode != "RGBA":
        return Image.frombytes("RGB", image.size, image.tobytes())
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notices.append(f"Transparent parts lie on {'white' if background == (255, 255, 255) else f'rgb{background}'}.")
    ground = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(ground, image).convert("RGB")

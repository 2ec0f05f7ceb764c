"""Convert a decoded picture of any mode, profile and orientation to upright, opaque sRGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from .arrays import Refusal, scaled, to_bytes
from .layers import painted

WHITE = (255, 255, 255)
COMPOSITED = "transparent pixels are composited on"
"""How the notice about them begins."""
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


class Conversion:
    """What becomes of one picture's colours, and what a person has to be told of it.

    Parameters
    ----------
    background
        RGB in [0, 255] that shows through transparent pixels.
    refusal
        Makes the error of values that are no picture.
    notices
        Gets a line for all that is lost.
    """

    def __init__(self, background: tuple[int, int, int], refusal: Refusal, notices: list[str]) -> None:
        self.background, self.refusal, self.notices = background, refusal, notices
        self.painted: tuple[Image.Image, str] | None = None
        """What a picture with transparent pixels says as a mask, see `layers.painted`."""
        self.alpha: Image.Image | None = None
        """Its opacity as L, where it has transparent pixels."""

    def of_image(self, image: Image.Image, owned: bool = False) -> Image.Image:
        """Convert a PIL image, of which nothing but the pixels remains; one that is `owned` may be written into."""
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
        if upright is not None:
            rgb = rgb.transpose(upright)
            self.painted = self.painted and (self.painted[0].transpose(upright), self.painted[1])
            self.alpha = self.alpha and self.alpha.transpose(upright)
        rgb.info = {}
        return rgb

    def of_array(self, array: np.ndarray[Any, Any]) -> Image.Image:
        """Convert an array of one of the shapes that `samples.check_shape` lets through."""
        values = np.asarray(array).reshape(array.shape[:2]) if array.shape[2:] == (1,) else np.asarray(array)
        pixels = np.ascontiguousarray(to_bytes(values, self.refusal, self.notices))
        return self._opaque(Image.fromarray(pixels), None, "")

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
        if values.dtype.kind == "f":
            pixels = to_bytes(values, self.refusal, self.notices)
        else:
            pixels = scaled(values, top, self.refusal, self.notices)
        return Image.fromarray(pixels), alpha

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
        self.notices.append(f"{COMPOSITED} {name}")
        self.painted, self.alpha = painted(rgb, alpha), alpha.copy()
        # It would be turned and converted once more where it is taken in as a picture.
        self.alpha.info = {}
        canvas = Image.new("RGB", rgb.size, tuple(self.background))
        canvas.paste(rgb, mask=alpha)
        return canvas

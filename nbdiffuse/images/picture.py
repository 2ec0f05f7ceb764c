"""Pictures as values: immutable, and known by their pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import weakref
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..errors import ImageInputError, breaks_rule
from .conversion import WHITE
from .reader import MAX_PIXELS, PILLOW_LIMIT, ImageReader, check_rgb

_registry: weakref.WeakValueDictionary[str, Image.Image] = weakref.WeakValueDictionary()


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
    check_rgb(image)
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
    painted
        What a source with transparent pixels says as a mask, and a line about it, see
        `layers.painted`; not compared.
    alpha
        The opacity of a source with transparent pixels, an L picture of the same size; not compared.
    read_as_mask
        Whether `masks.as_mask` made it; not compared.

    Raises
    ------
    ImageInputError
        The address is malformed.
    """

    address: str
    label: str = field(default="", compare=False)
    notices: tuple[str, ...] = field(default=(), compare=False, kw_only=True)
    painted: tuple[Image.Image, str] | None = field(default=None, compare=False, kw_only=True)
    alpha: Image.Image | None = field(default=None, compare=False, kw_only=True)
    read_as_mask: bool = field(default=False, compare=False, kw_only=True)
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
            its address; "example:penguin" and the other names of
            `embedded.examples.EXAMPLES`; a data URL, "data:image/png;base64,…"; or, after
            `allow_urls(True)`, an https URL.
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
            return source if label is None else dataclasses.replace(source, label=label)
        if isinstance(source, str) and source.startswith("sha256:"):
            return cls(source, label or "")
        notices: list[str] = []
        reader = ImageReader(source, background, max_pixels, notices)
        image, name = reader.read()
        address = content_address(image)
        pixels = _registry.setdefault(address, image)
        shown = name if label is None else label
        return cls(address, shown, notices=tuple(notices), painted=reader.painted, alpha=reader.alpha, _pixels=pixels)

    @property
    def image(self) -> Image.Image:
        """The pixels: a PIL image, RGB, the caller's own copy."""
        return self._pixels_at_hand().copy()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._pixels_at_hand().size

    @property
    def at_hand(self) -> bool:
        """Whether this process holds the pixels."""
        return self._found() is not None

    def _pixels_at_hand(self) -> Image.Image:
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

    def __reduce__(self) -> tuple[Any, ...]:
        made = _unpickled, (self.address, self.label, self.notices, self._repr_png_())
        if self.painted is None and not self.read_as_mask:
            return made
        return *made, {"painted": self.painted, "alpha": self.alpha, "read_as_mask": self.read_as_mask}


def _unpickled(address: str, label: str, notices: tuple[str, ...], png: bytes | None) -> Picture:
    if png is None:
        return Picture(address, label, notices=notices)
    carried = Picture.of(png, label, max_pixels=PILLOW_LIMIT)
    if carried.address != address:
        raise ImageInputError(breaks_rule("image", f"the picture {address[:15]}…", carried.address, "Its pixels were altered."))
    return Picture(address, label, notices=notices, _pixels=carried._pixels)

"""Metadata costs no picture: what is too large or damaged is left out and said, and no bomb goes off in it."""

from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from nbdiffuse.errors import ImageInputError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.panels.actions.dropped_file import dropped_file

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
LEFT_OUT = "metadata that is damaged or too large to read is left out: "
LARGE = zlib.compress(b"x" * 3_000_000)


def encoded(image: Any, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png_with(*chunks: bytes, behind: bytes = b"", image: Any = NOISE) -> bytes:
    """A PNG with chunks before its pixels, and behind them."""
    data = encoded(image)
    return data[:33] + b"".join(chunks) + data[33:-12] + behind + data[-12:]


def jpeg_with(marker: int, body: bytes) -> bytes:
    data = encoded(NOISE, "JPEG", quality=95)
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


CHUNKS: dict[str, tuple[bytes, str]] = {
    "compressed text": (chunk(b"zTXt", b"k\0\0" + LARGE), "zTXt"),
    "compressed international text": (chunk(b"iTXt", b"workflow\0\1\0\0\0" + LARGE), "iTXt"),
    "text of an unknown method": (chunk(b"zTXt", b"k\0\5" + LARGE), "zTXt"),
    "profile that is none": (chunk(b"iCCP", b"k\0\0" + zlib.compress(os.urandom(1000) * 1200)), ""),
    "profile of an unknown method": (chunk(b"iCCP", b"k\0\5" + LARGE), "iCCP"),
    "profile without an end": (chunk(b"iCCP", b"k"), "iCCP"),
    "resolution": (chunk(b"pHYs", b"\0"), "pHYs"),
    "gamma": (chunk(b"gAMA", b""), "gAMA"),
    "chromaticities": (chunk(b"cHRM", bytes(5)), "cHRM"),
    "rendering intent": (chunk(b"sRGB", b""), "sRGB"),
    "text with a wrong checksum": (chunk(b"tEXt", b"k\0v", 5), "tEXt"),
    "a private chunk with a wrong checksum": (chunk(b"prVt", b"xx", 5), "prVt"),
    "animation": (chunk(b"acTL", bytes(4)), "acTL"),
    "frame": (chunk(b"fcTL", bytes(26)), "fcTL"),
    "transparency": (chunk(b"tRNS", b"\0"), "tRNS"),
    "many texts": (b"".join(chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(b"x" * 1_000_000)) for i in range(70)), "zTXt"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_sound_png_comes_in_whatever_it_carries(name: str, tmp_path: Path) -> None:
    body, left_out = CHUNKS[name]
    data = png_with(body)
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png"):
        picture = Picture.of(source)
        assert np.array_equal(np.asarray(picture.image), NOISE)
        expected = LEFT_OUT + left_out if left_out else "a colour profile that does not fit is ignored"
        assert picture.notices == (expected,)


@pytest.mark.parametrize("name", ["compressed text", "compressed international text", "resolution", "many texts"])
def test_it_comes_in_too_when_it_stands_behind_the_pixels(name: str) -> None:
    body, left_out = CHUNKS[name]
    picture = Picture.of(png_with(behind=body))
    assert np.array_equal(np.asarray(picture.image), NOISE) and picture.notices == (LEFT_OUT + left_out,)


def test_what_changes_the_look_is_kept_when_text_is_left_out() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(NOISE, exif=exif)
    data = turned[:33] + CHUNKS["compressed text"][0] + turned[33:]
    assert np.array_equal(np.asarray(Picture.of(data).image), np.rot90(NOISE, -1))
    clear = np.dstack([NOISE, np.full(NOISE.shape[:2], 0, np.uint8)])
    assert (np.asarray(Picture.of(png_with(CHUNKS["compressed text"][0], image=clear)).image) == 255).all()
    animated = encoded(NOISE, save_all=True, append_images=[Image.fromarray(NOISE[::-1].copy())])
    picture = Picture.of(animated[:33] + CHUNKS["compressed text"][0] + animated[33:])
    assert picture.notices == ("the first of 2 frames is used", LEFT_OUT + "zTXt")


def test_a_large_profile_is_applied() -> None:
    """Profiles of printers have megabytes; Pillow reads up to one from a PNG."""
    small = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = bytearray(small.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap"))
    for index in range(struct.unpack(">I", data[128:132])[0]):
        at = 132 + 12 * index
        data[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(data[at : at + 4]), bytes(data[at : at + 4]))
    data += random.Random(0).randbytes(1_500_000)
    data[:4] = struct.pack(">I", len(data))
    red = np.array([[[255, 0, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    picture = Picture.of(encoded(red, icc_profile=bytes(data)))
    assert np.abs(np.asarray(picture.image).astype(int) - red[:, [1, 0, 2]]).max() <= 2
    assert picture.notices == ("colours are converted to sRGB from swap built-in",)


SEGMENTS = {
    "profile without a number": (0xE2, b"ICC_PROFILE\0", "APP0, APP2"),
    "Adobe": (0xEE, b"Adobe", "APP0, APP14"),
    "JFIF": (0xE0, b"JFIF", "APP0"),
    "JFIF without a density": (0xE0, b"JFIF\0\1", "APP0"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_sound_jpeg_comes_in_whatever_it_carries(name: str) -> None:
    marker, body, left_out = SEGMENTS[name]
    picture = Picture.of(jpeg_with(marker, body))
    assert picture == Picture.of(encoded(NOISE, "JPEG", quality=95))
    assert sorted(picture.notices[0].removeprefix(LEFT_OUT).split(", ")) == left_out.split(", ")


@pytest.mark.parametrize("format", ["WEBP", "TIFF", "AVIF", "JPEG", "PNG"])
def test_large_xmp_and_foreign_profiles_and_exif_cost_no_picture(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    sound = Picture.of(encoded(NOISE, format, **options))
    # A JPEG's segments end at 64 KB.
    size = 60_000 if format == "JPEG" else 3_000_000
    kinds: list[dict[str, Any]] = [{"xmp": b"x" * size}, {"icc_profile": random.Random(1).randbytes(size)}]
    kinds += [{"exif": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 50}] if format != "TIFF" else []
    for given in kinds:
        assert Picture.of(encoded(NOISE, format, **options, **given)) == sound, given.keys()


def peak() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's memory figures")
@pytest.mark.parametrize(("kind", "head"), [(b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")])
def test_text_and_profiles_that_would_fill_memory_are_left_out(kind: bytes, head: bytes) -> None:
    data = png_with(chunk(kind, head + zlib.compress(bytes(200_000_000), 9)))
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    assert Picture.of(data).notices == (LEFT_OUT + kind.decode(),)
    assert peak() - before < 60 * 2**20


def test_a_notice_names_few_of_many_kinds() -> None:
    many = b"".join(chunk(bytes((97, 97, 97 + i, 65 + i)), b"", 5) for i in range(26))
    assert Picture.of(png_with(many)).notices[0].endswith("aahH and more")


def test_pixels_that_are_damaged_are_refused_as_before() -> None:
    for data in (png_with(CHUNKS["compressed text"][0])[:-400], png_with(chunk(b"IDAT", b"junk"), CHUNKS["compressed text"][0])):
        with pytest.raises(ImageInputError, match=r"must be a (whole picture that can be read|PNG)"):
            Picture.of(data)


def test_mutated_metadata_never_costs_the_pixels_of_a_png() -> None:
    body = [chunk(b"tEXt", b"key\0value" * 9), chunk(b"zTXt", b"k\0\0" + zlib.compress(b"abc" * 99)), chunk(b"pHYs", bytes(9))]
    body += [chunk(b"gAMA", bytes(4)), chunk(b"iCCP", b"k\0\0" + zlib.compress(b"icc" * 99)), chunk(b"iTXt", b"k\0\0\0\0\0text")]
    rng = random.Random(4)
    for _ in range(200):
        parts = [bytearray(part) for part in body]
        for part in rng.sample(parts, 3):
            # The content and the checksum; a wrong length or name is another file.
            part[rng.randrange(8, len(part))] = rng.randrange(256)
        data = png_with(*map(bytes, parts))
        assert np.array_equal(np.asarray(Picture.of(data).image), NOISE)


def test_a_picture_with_text_too_large_for_settings_can_be_dropped_on_a_panel() -> None:
    for body in (CHUNKS["compressed text"][0], chunk(b"tEXt", b"parameters\0" + b"y" * 1_000_001)):
        assert dropped_file("a.png", png_with(body)) is None


def grey_png(width: int, height: int, rows: int | None = None) -> bytes:
    """A PNG of one value that claims a height; with fewer rows it is not whole."""
    packer = zlib.compressobj(1)
    count = height if rows is None else rows
    body = b"".join(packer.compress(b"\0" + bytes([120]) * width) for _ in range(count)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_reading_what_a_large_photograph_says_warns_of_nothing(tmp_path: Path) -> None:
    # Pillow warns of more than 89 million pixels when a file is opened.
    data = grey_png(9900, 9900, rows=1)
    (tmp_path / "large.png").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_files.read(tmp_path / "large.png").provenance is None
        assert dropped_file("large.png", data) is None


@pytest.mark.parametrize("size", [(8000, 6000), pytest.param((10000, 10000), marks=pytest.mark.slow)])
def test_a_photograph_of_up_to_100_megapixels_comes_in(size: tuple[int, int]) -> None:
    picture = Picture.of(grey_png(*size))
    assert picture.size == size and picture.notices == ()
    with pytest.raises(ImageInputError, match=r"at most 100,000,000 pixels, got [\d,]+ bytes\. It has 10001x10000"):
        Picture.of(grey_png(10001, 10000, rows=1))

"""Pictures come in upright, in sRGB and whole, or are refused in one clear line."""

from __future__ import annotations

import copy
import gc
import hashlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

import nbdiffuse
from nbdiffuse.errors import ImageInputError, NbdiffuseError, ParameterError
from nbdiffuse.images import picture, reader
from nbdiffuse.images.fitting import RESIZE_MODES, fit, fitted_size
from nbdiffuse.images.picture import Picture, content_address

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [9, 9, 9]], [[0, 0, 255], [255, 255, 0], [7, 7, 7]]], np.uint8)
"""2 x 3 pixels, all different: mirrors and turns cannot be mistaken for each other."""


def encoded(image: Image.Image | np.ndarray[Any, Any], format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def pixels(source: Any, **options: Any) -> np.ndarray[Any, Any]:
    return np.asarray(Picture.of(source, **options).image)


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(ImageInputError) as caught:
        Picture.of(source, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("`image` must be ")
    return str(caught.value)


# The value


@pytest.mark.quick
def test_a_picture_is_known_by_its_size_and_pixels() -> None:
    expected = "sha256:" + hashlib.sha256(b"32x24:" + NOISE.tobytes()).hexdigest()
    assert content_address(Image.fromarray(NOISE)) == Picture.of(NOISE).address == expected
    assert content_address(Image.new("RGB", (2, 8))) != content_address(Image.new("RGB", (8, 2)))
    tall = RNG.integers(0, 256, (2500, 3, 3), dtype=np.uint8)
    assert content_address(Image.fromarray(tall)) == "sha256:" + hashlib.sha256(b"3x2500:" + tall.tobytes()).hexdigest()


def test_pictures_are_equal_iff_their_pixels_are_whatever_their_names() -> None:
    one, two = Picture.of(NOISE, label="a"), Picture.of(encoded(NOISE), label="b")
    assert one == two
    assert len({one, two}) == 1
    assert one != Picture.of(NOISE[::-1])
    assert one.size == (32, 24)


def test_a_picture_cannot_be_changed_from_outside() -> None:
    source = Image.fromarray(NOISE)
    picture = Picture.of(source)
    source.putpixel((0, 0), (1, 2, 3))
    picture.image.putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(picture.image), NOISE)
    with pytest.raises(AttributeError):
        picture.label = "x"  # type: ignore[misc]


def test_pixels_live_as_long_as_a_picture_made_from_them() -> None:
    picture = Picture.of(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    address = picture.address
    by_address = Picture(address)
    del picture
    gc.collect()
    assert by_address.size == Picture.of(address).size == (8, 8)
    del by_address
    gc.collect()
    orphan = Picture(address, "lost.png")
    assert repr(orphan) == f"Picture('lost.png', {address[:15]}…)"
    with pytest.raises(ImageInputError, match=f"got '{address}'. Take in its file again"):
        _ = orphan.image


def test_a_picture_made_before_its_pixels_came_finds_them() -> None:
    array = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    address = "sha256:" + hashlib.sha256(b"8x8:" + array.tobytes()).hexdigest()
    early = Picture(address)
    picture = Picture.of(array)
    assert early.size == (8, 8)
    del picture
    gc.collect()
    assert np.array_equal(np.asarray(early.image), array)


@pytest.mark.parametrize("address", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 64, "sha256:" + "0" * 65, None])
def test_malformed_addresses_are_refused(address: Any) -> None:
    with pytest.raises(ImageInputError, match="64 hexadecimal digits"):
        Picture(address)


def test_a_picture_survives_pickling_with_its_pixels_and_notices() -> None:
    array = RNG.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    packed = pickle.dumps(picture := Picture.of(array, label="a"))
    expected, notices = np.asarray(picture.image), picture.notices
    del picture
    gc.collect()
    again = pickle.loads(packed)
    assert (again.label, again.notices) == ("a", notices)
    assert np.array_equal(np.asarray(again.image), expected)
    assert copy.deepcopy(again) is again
    assert pickle.loads(pickle.dumps(Picture("sha256:" + "0" * 64))).address == "sha256:" + "0" * 64


def test_a_picture_altered_on_its_way_is_refused() -> None:
    restore, (_, label, notices, png) = Picture.of(NOISE).__reduce__()
    with pytest.raises(ImageInputError, match="Its pixels were altered"):
        restore("sha256:" + "0" * 64, label, notices, png)


def test_the_label_is_the_file_name_unless_given_and_holds_no_control_marks(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(NOISE))
    picture = Picture.of(path)
    assert repr(picture) == f"Picture('cat.png', 32x24, {picture.address[:15]}…)"
    assert Picture.of(str(path), label="x").label == "x"
    with Image.open(path) as opened:
        assert Picture.of(opened).label == "cat.png"
    relabelled = Picture.of(picture, label="a\u202eb\nc")
    assert relabelled.label == "a\ufffdb\ufffdc"
    assert Picture.of(picture) is picture
    assert Picture.of(picture.address) == picture


def test_the_import_is_cheap() -> None:
    code = "import sys; sys.modules['nbdiffuse'] = type(sys)('nbdiffuse'); sys.modules['nbdiffuse'].__path__ = ['nbdiffuse'];"
    code += "import nbdiffuse.images.picture; print(sorted({'torch', 'diffusers', 'ssl', 'IPython'} & set(sys.modules)))"
    package = Path(picture.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=package, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The right pixels


@pytest.mark.quick
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(format: str, orientation: int) -> None:
    a = np.kron(CORNERS, np.ones((16, 16, 1), np.uint8))
    stored = {
        1: a, 2: a[:, ::-1], 3: a[::-1, ::-1], 4: a[::-1], 5: a.swapaxes(0, 1), 6: np.rot90(a), 7: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90(a, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": "4:4:4"} if format in ("JPEG", "AVIF") else {}
    options |= {"lossless": True} if format == "WEBP" else {}
    data = encoded(stored, format, exif=exif, **options)
    got = pixels(data)
    assert got.shape == a.shape
    centres = (slice(8, None, 16), slice(8, None, 16))
    assert np.abs(got[centres].astype(int) - CORNERS.astype(int)).max() <= (0 if format not in ("JPEG", "AVIF") else 6)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(pixels(opened), got)


def test_a_16_bit_png_is_scaled_not_clipped() -> None:
    deep = np.array([[0, 1, 128, 129, 257], [32767, 32768, 65278, 65407, 65535]], np.uint16)
    expected = np.array([[0, 0, 0, 1, 1], [127, 128, 254, 255, 255]], np.uint8)
    for source in (encoded(deep), encoded(deep, "TIFF"), deep, deep.astype(">u2"), Image.fromarray(deep)):
        picture = Picture.of(source)
        assert np.array_equal(np.asarray(picture.image), np.repeat(expected[..., None], 3, 2))
        assert picture.notices == ("16-bit values are scaled to 8 bits",)


def png_of(rows: np.ndarray[Any, Any], colour: int, depth: int = 8, extra: bytes = b"", trailer: bytes = b"") -> bytes:
    """A PNG written by hand: what Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = rows.shape[:2]
    big = rows.astype(">u2") if depth == 16 else rows
    raw = b"".join(b"\0" + row.tobytes() for row in big)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", zlib.compress(raw)) + trailer + chunk(b"IEND", b"")


def text_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_16_bit_colour_png_keeps_its_high_bytes() -> None:
    picture = Picture.of(png_of(NOISE.astype(np.uint16) * 257, 2, 16))
    assert np.array_equal(np.asarray(picture.image), NOISE)
    assert picture.notices == ("16-bit values are scaled to 8 bits",)


def test_a_transparent_grey_value_of_a_16_bit_png_shows_the_background() -> None:
    deep = np.array([[0, 257 * 100]], np.uint16)
    transparent = struct.pack(">IH", 2, 0)[:4] + b"tRNS" + struct.pack(">H", 25700)
    transparent += struct.pack(">I", zlib.crc32(transparent[4:]))
    picture = Picture.of(png_of(deep, 0, 16, transparent), background=(1, 2, 3))
    assert np.asarray(picture.image).tolist() == [[[0, 0, 0], [1, 2, 3]]]
    assert len(picture.notices) == 2


def test_32_bit_integers_count_as_16_bit_and_floats_as_unit_range() -> None:
    assert pixels(Image.fromarray(np.array([[0, 25700, 65535]], np.int32))).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    assert "They lie in [-1, 70000]" in refused(Image.fromarray(np.array([[-1, 70000]], np.int32)))
    assert pixels(Image.fromarray(np.array([[0, 0.5, 1]], np.float32))).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    assert "Divide by 255 first" in refused(Image.fromarray(np.array([[0, 200]], np.float32)))


RGBA = np.array([[[200, 100, 0, 0], [200, 100, 0, 51], [200, 100, 0, 255]]], np.uint8)


@pytest.mark.quick
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", None])
def test_alpha_is_composited_on_the_stated_background(format: str | None) -> None:
    source = RGBA if format is None else encoded(RGBA, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    on_white, on_blue = Picture.of(source), Picture.of(source, background=(0, 0, 255))
    assert np.asarray(on_white.image).tolist() == [[[255, 255, 255], [244, 224, 204], [200, 100, 0]]]
    assert np.asarray(on_blue.image).tolist() == [[[0, 0, 255], [40, 20, 204], [200, 100, 0]]]
    assert on_white.notices == ("transparent pixels are composited on white",)
    assert on_blue.notices == ("transparent pixels are composited on rgb(0, 0, 255)",)


def test_an_opaque_alpha_channel_is_dropped_without_a_notice() -> None:
    picture = Picture.of(np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)]))
    assert picture == Picture.of(NOISE)
    assert picture.notices == ()


def test_transparent_palettes_are_composited_and_stay_as_they_were() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = bytes([0, 255])
    before = (image.getpalette("RGBA"), dict(image.info), image.tobytes())
    assert pixels(image).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    assert (image.getpalette("RGBA"), dict(image.info), image.tobytes()) == before
    assert pixels(encoded(image)).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    image.info["transparency"] = 1
    assert pixels(encoded(image, "GIF")).tolist() == [[[200, 100, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 255), (77, 77, 77)),
        ("La", (77, 255), (77, 77, 77)),
        ("RGBX", (1, 2, 3, 4), (1, 2, 3)),
        ("RGBa", (1, 2, 3, 255), (1, 2, 3)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (77, 128, 128), (77, 77, 77)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("I;16B", 25700, (100, 100, 100)),
    ],
)
def test_every_mode_of_pillow_becomes_rgb(mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    image = Image.new(mode, (3, 2))
    image.paste(colour, (0, 0, 3, 2))
    assert (pixels(image) == expected).all()


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


def swapped_profile() -> bytes:
    """The sRGB profile with its red and blue primaries exchanged, under another name."""
    data = bytearray(profile("sRGB"))
    for index in range(struct.unpack(">I", data[128:132])[0]):
        at = 132 + 12 * index
        data[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(data[at : at + 4]), bytes(data[at : at + 4]))
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")


def test_a_colour_profile_is_applied() -> None:
    picture = Picture.of(encoded(np.array([[[255, 0, 0], [0, 0, 255], [90, 90, 90]]], np.uint8), icc_profile=swapped_profile()))
    assert np.abs(np.asarray(picture.image).astype(int) - [[[0, 0, 255], [255, 0, 0], [90, 90, 90]]]).max() <= 2
    assert picture.notices == ("colours are converted to sRGB from swap built-in",)


def test_an_srgb_profile_changes_nothing_and_a_broken_one_is_a_notice() -> None:
    same = Picture.of(encoded(NOISE, icc_profile=profile("sRGB")))
    assert (same, same.notices) == (Picture.of(NOISE), ())
    for broken in (b"junk" * 50, profile("LAB"), swapped_profile()[:300]):
        picture = Picture.of(encoded(NOISE, icc_profile=broken))
        assert picture == Picture.of(NOISE)
        assert picture.notices == ("a colour profile that does not fit is ignored",)


def test_a_profile_and_alpha_are_applied_in_that_order() -> None:
    picture = Picture.of(encoded(np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8), icc_profile=swapped_profile()))
    assert np.abs(np.asarray(picture.image).astype(int) - [[[255, 255, 255], [0, 0, 255]]]).max() <= 2


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_is_used_and_said(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "AVIF" else {}
    picture = Picture.of(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert np.abs(np.asarray(picture.image).astype(int) - (255, 0, 0)).max() <= (4 if format == "AVIF" else 0)
    assert picture.notices == ("the first of 3 frames is used",)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 7]], np.uint8), [[[0] * 3, [7] * 3]]),
        (np.array([[[0], [7]]], np.uint8), [[[0] * 3, [7] * 3]]),
        (np.array([[True, False]]), [[[255] * 3, [0] * 3]]),
        (np.array([[0.0, 0.25, 1.0]]), [[[0] * 3, [64] * 3, [255] * 3]]),
        (np.array([[[0.0, 0.2, 1.0]]], np.float16), [[[0, 51, 255]]]),
        (np.array([[[0, 257, 65535]]], np.uint16), [[[0, 1, 255]]]),
        (CORNERS[:, ::-1], CORNERS[:, ::-1].tolist()),
        (np.asfortranarray(CORNERS), CORNERS.tolist()),
    ],
)
def test_arrays_come_in_exactly(array: np.ndarray[Any, Any], expected: list[Any]) -> None:
    before = array.copy()
    assert pixels(array).tolist() == expected
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 16, 16)), "Channels come last: use array.transpose(1, 2, 0)."),
        (np.zeros((2, 16, 16, 3)), "Give one picture of the batch: array[0]."),
        (np.zeros((16, 16, 2)), "Channels come last; there are 1, 3 or 4."),
        (np.zeros(16), "Channels come last"),
        (np.zeros((0, 16, 3)), "It is empty."),
        (np.zeros((4, 4), np.int64), 'array.astype("uint8")'),
        (np.zeros((4, 4), np.int32), 'array.astype("uint8")'),
        (np.zeros((4, 4), complex), 'array.astype("uint8")'),
        (np.zeros((4, 4), object), 'array.astype("uint8")'),
        (np.array([[0, 1.5]]), "They lie in [0, 1.5]. Use numpy.clip"),
        (np.array([[0, 1.00000012]], np.float32), "They lie in [0, 1.00000012]."),
        (np.array([[-1, 0.5]]), "They lie in [-1, 0.5]. Use array / 2 + 0.5"),
        (np.array([[0, 255.0]]), "Divide by 255 first."),
        (np.array([[0, np.nan]]), "They lie in [nan, nan]. Use numpy.nan_to_num"),
        (np.array([[0, np.inf]]), "They lie in [0, inf]."),
    ],
)
def test_arrays_that_are_no_picture_are_refused_with_a_hint(array: np.ndarray[Any, Any], said: str) -> None:
    assert said in refused(array)


# What is refused


@pytest.mark.quick
def test_a_missing_file_offers_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "Portrait.png").write_bytes(encoded(NOISE))
    assert f"Did you mean {str(tmp_path / 'Portrait.png')!r}?" in refused(tmp_path / "portait.png")
    assert "Paths start at" in refused(tmp_path / "zzz.png")
    assert "There is no folder" in refused(tmp_path / "nowhere" / "x.png")
    assert "There is no folder" in refused(tmp_path / "Portrait.png" / "x.png")
    assert "a file, not a folder" in refused(str(tmp_path))


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "a regular file" in refused(tmp_path / "pipe.png")
    assert "a regular file" in refused("/dev/zero")


@pytest.mark.parametrize(
    "source", [None, 3, [NOISE], io.BytesIO(b""), object(), "", "a\0b", "~nobody-here/x", "x" * 5000, "\ud800"]
)
def test_what_is_no_picture_is_refused(source: Any) -> None:
    assert len(refused(source)) < 600


def test_names_and_folders_with_odd_characters_work(tmp_path: Path) -> None:
    for name in ("a b.png", "naïve 猫.png", "a:b.png", "%41.png", "-s.png"):
        (tmp_path / name).write_bytes(encoded(NOISE))
        assert Picture.of(str(tmp_path / name)).label == name


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF", "TIFF"])
def test_truncated_files_are_refused_also_when_opened_lazily(format: str) -> None:
    data = encoded(np.kron(NOISE, np.ones((4, 4, 1), np.uint8)), format)
    short = data[: len(data) * 6 // 10]
    assert "got " in refused(short)
    try:
        opened = Image.open(io.BytesIO(short))
    except OSError:
        return
    assert "a PIL image, " in refused(opened)


def test_the_file_and_the_cause_are_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(encoded(NOISE)[:800])
    assert f"got {str(path)!r}. Reading it failed: " in refused(path)
    path.write_text("not a picture")
    assert f"must be a PNG, JPEG, WEBP, GIF, TIFF, BMP or AVIF file, got {str(path)!r}." in refused(path)


def bomb(width: int, height: int, format: str) -> bytes:
    """A small file that claims, and for PNG really has, width x height pixels."""
    if format == "PNG":
        compressor = zlib.compressobj(9)
        rows = compressor.compress(b"\0" * (height * (width + 1))) if width * height < 5e7 else compressor.compress(b"\0" * 9999)
        body = rows + compressor.flush()
        head = text_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + text_chunk(b"IDAT", body) + text_chunk(b"IEND", b"")
    small = bytearray(encoded(NOISE, format))
    if format == "BMP":
        small[18:26] = struct.pack("<ii", width, height)
    elif format == "GIF":
        small[6:10] = struct.pack("<HH", width, height)
    else:
        at = small.index(b"\xff\xc0")
        small[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(small)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's memory figures")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(10001, 10000), (12000, 12000), (13000, 13100), (65535, 65535)])
def test_bombs_are_refused_from_the_header(size: tuple[int, int], format: str) -> None:
    data = bomb(*size, format)
    Path("/proc/self/clear_refs").write_text("5")  # The peak starts again from what is used now.
    before = peak()
    assert "a picture of at most 100,000,000 pixels" in refused(data)
    assert peak() - before < 20 * 2**20


def peak() -> int:
    """Largest memory this process has had, in bytes: a bomb that goes off and is freed still shows."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def test_the_pixel_budget_can_be_set() -> None:
    assert Picture.of(NOISE, max_pixels=32 * 24).size == (32, 24)
    for source in (NOISE, encoded(NOISE), Image.fromarray(NOISE)):
        assert "It has 32x24 = 768. Make it smaller" in refused(source, max_pixels=767)
    for wrong in (0, -1, 10**9, 1.5, None):
        with pytest.raises(ImageInputError, match="`max_pixels` must be"):
            Picture.of(NOISE, max_pixels=wrong)  # type: ignore[arg-type]


def chunked_bomb() -> bytes:
    packed = zlib.compress(b"a" * 80_000_000, 9)
    return png_of(NOISE, 2, extra=text_chunk(b"zTXt", b"k\0\0" + packed))


def corpus() -> dict[str, bytes]:
    """Files as they come: good, odd, damaged and hostile."""
    image = Image.fromarray(NOISE)
    files: dict[str, bytes] = {"empty": b"", "text": b"hello", "zeros": b"\0" * 5000}
    files |= {"svg": b"<svg/>", "pdf": b"%PDF-1.7\n", "html": b"<html>"}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        files[f"png {mode}"] = encoded(image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode))
    for mode in ("L", "RGB", "CMYK"):
        files[f"jpeg {mode}"] = encoded(image.convert(mode), "JPEG")
    # No YCbCr: Pillow 12, the newest for Python 3.10, cannot read the TIFF that it writes of it.
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "F"):
        files[f"tiff {mode}"] = encoded(image.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (9, 9)), "TIFF")
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files[f"tiff {compression}"] = encoded(image, "TIFF", compression=compression)
    for format in ("WEBP", "GIF", "BMP", "AVIF"):
        files[format] = encoded(image, format)
    for format in ("PPM", "TGA", "PCX", "ICO", "SGI", "EPS", "PDF", "DDS", "JPEG2000"):
        files[f"foreign {format}"] = encoded(image, format)
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        files[f"animated {format}"] = encoded(image, format, save_all=True, append_images=[image.rotate(90)] * 2)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        whole = encoded(image, format)
        files[f"half {format}"], files[f"head {format}"] = whole[: len(whole) // 2], whole[:30]
    good = encoded(image)
    files["trailing html"] = good + b"<script>alert(1)</script>"
    files["gif then html"] = b"GIF89a/*" + b"<script>" * 99
    files["bad crc"] = good[:29] + b"xxxx" + good[33:]
    files["zero width"] = png_of(NOISE, 2)[:16] + b"\0" * 4 + png_of(NOISE, 2)[20:]
    files["png with a bomb in its text"] = chunked_bomb()
    files["bad exif"] = encoded(image, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    files["exif 9"] = encoded(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0")
    files["junk profile"] = encoded(image, icc_profile=b"\xff" * 99)
    files["swapped profile"] = encoded(image, icc_profile=swapped_profile())
    files["lab profile on cmyk"] = encoded(image.convert("CMYK"), "JPEG", icc_profile=profile("LAB"))
    files["bad palette index"] = png_of(np.full((4, 4), 200, np.uint8), 3, extra=text_chunk(b"PLTE", bytes(6)))
    files["palette without"] = png_of(np.zeros((4, 4), np.uint8), 3)
    files["odd transparency"] = png_of(NOISE, 2, extra=text_chunk(b"tRNS", b"\0\1"))
    files["claims frames"] = png_of(NOISE, 2, extra=text_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
    return files


CORPUS = corpus()


def take(data: bytes) -> Picture | None:
    """Take in a file that may be damaged: success and our own error are all that may happen."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        try:
            picture = Picture.of(data)
        except ImageInputError as error:
            picture = None
            assert "\n" not in str(error)
    assert [str(warning.message) for warning in leaked] == []
    return picture


@pytest.mark.parametrize("name", CORPUS)
def test_any_file_is_taken_in_or_refused_in_one_line(name: str) -> None:
    picture = take(CORPUS[name])
    bad = ("empty", "text", "zeros", "svg", "pdf", "html", "foreign", "half", "head", "gif then", "bad crc", "zero width")
    if name.startswith(bad):
        assert picture is None
    elif name.startswith(("png", "jpeg", "tiff", "animated", "WEBP", "GIF", "BMP", "AVIF", "trailing", "junk", "exif")):
        # The floats in that file go up to 255.
        assert (picture is None) == (name == "tiff F")


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        at = rng.randrange(min(len(changed), rng.choice((64, 512, 10**6))))
        changed[at] = rng.choice((0, 255, 127, rng.randrange(256)))
    return bytes(changed[: rng.randrange(len(changed)) + 1] if rng.random() < 0.1 else changed)


def test_2000_mutated_files_never_raise_anything_else() -> None:
    rng = random.Random(0)
    names = [name for name in CORPUS if len(CORPUS[name]) > 64 and "foreign" not in name]
    taken = sum(take(mutated(CORPUS[rng.choice(names)], rng)) is not None for _ in range(2000))
    assert 200 < taken < 1800  # Both ends are reached.


def test_threads_take_in_pictures_together_and_leave_the_warning_filters_alone() -> None:
    before, got = list(warnings.filters), []
    # Large enough that Pillow, which decodes without the GIL, lets other threads in.
    large = np.kron(NOISE, np.ones((12, 12, 1), np.uint8))
    expected, data = Picture.of(large), encoded(large)
    threads = [threading.Thread(target=lambda: got.extend(Picture.of(data) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [expected] * 80
    assert warnings.filters == before


# URLs


def test_urls_are_refused_until_allowed_and_show_no_secrets() -> None:
    said = refused("https://me:secret@example.org/cat.png?token=secret")
    assert "allow_urls(True)" in said
    assert "secret" not in said
    for other in ("http://example.org/x.png", "file:///etc/passwd", "ftp://secret@x/y"):
        said = refused(other)
        assert "a path, or an https URL" in said
        assert "secret" not in said
    said = refused("data:image/png;base64,secret")
    assert "a data URL" in said and "secret" not in said


def test_an_allowed_url_is_downloaded_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbdiffuse.files import downloads

    monkeypatch.setattr(downloads, "fetch", lambda url: encoded(RGBA))
    said = refused("https://example.org/cat.png")
    eval(said[said.index("nbdiffuse.") :].rstrip("."), {"nbdiffuse": nbdiffuse})
    try:
        picture = Picture.of("https://example.org/a%20cat.png?x=1")
        monkeypatch.setattr(downloads, "fetch", lambda url: b"<html>")
        assert "got 'https://example.org/x'" in refused("https://example.org/x")
    finally:
        reader.allow_urls(False)
    assert (picture.label, picture.size) == ("a cat.png", (3, 1))


# Sizes

SIDES = st.integers(64, 4096)
SIZES = st.tuples(SIDES, SIDES)
MODES = st.sampled_from(RESIZE_MODES)


@given(
    st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    st.sampled_from((8, 16, 32)),
    st.sampled_from((None, 64, 128, 512, 1000)),
)
def test_every_size_has_a_size_to_run_at_or_is_too_thin(size: tuple[int, int], multiple: int, limit: int | None) -> None:
    try:
        width, height = fitted_size(size, width=None, height=None, multiple=multiple, limit=limit)
    except ParameterError as error:
        assert f"got {size[0]}x{size[1]}, which gives" in str(error)
        assert 64 * max(size) > (4096 - multiple) * min(size)
        return
    assert width % multiple == height % multiple == 0
    assert 64 <= min(width, height) <= max(width, height) <= 4096
    if min(size) >= 64 and (limit is None or max(size) <= limit):
        assert (width, height) == (size[0] - size[0] % multiple, size[1] - size[1] % multiple)
        return
    if limit is not None and min(width, height) > 64:
        assert max(width, height) <= limit
    wanted = 64 / min(size) if min(size) < 64 else limit / max(size) if limit else 1.0
    scale = max(wanted, 64 / min(size))
    assert max(abs(width - size[0] * scale), abs(height - size[1] * scale)) <= multiple


@given(SIZES, SIDES.map(lambda side: side // 8 * 8))
def test_one_side_gives_the_other_to_the_nearest_multiple(size: tuple[int, int], side: int) -> None:
    for own, other, name in ((size[0], size[1], "width"), (size[1], size[0], "height")):
        exact = side * other / own
        asked: dict[str, int | None] = {"width": None, "height": None, name: side}
        if 60 <= exact < 4100:
            result = fitted_size(size, width=asked["width"], height=asked["height"], multiple=8)
            assert result[name == "height"] == side
            assert abs(result[name == "width"] - exact) <= 4
        else:
            with pytest.raises(ParameterError, match="Give `width` and `height`"):
                fitted_size(size, width=asked["width"], height=asked["height"], multiple=8)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("size", "asked", "limit", "expected"),
    [
        ((600, 400), (None, None), 128, (128, 88)),
        ((600, 400), (192, None), 128, (192, 128)),
        ((600, 400), (None, 64), None, (96, 64)),
        ((600, 400), (512, 64), 128, (96, 64)),
        ((600, 400), (64, 512), 128, (96, 64)),
        ((600, 400), (128, 128), 512, (128, 88)),
        ((519, 513), (None, None), None, (512, 512)),
        ((1024, 1023), (None, None), 512, (512, 512)),
        ((64, 64), (None, None), 512, (64, 64)),
    ],
)
def test_sizes_follow_the_stated_rule(size: Any, asked: Any, limit: Any, expected: Any) -> None:
    assert fitted_size(size, width=asked[0], height=asked[1], multiple=8, limit=limit) == expected


@pytest.mark.parametrize(
    ("size", "asked", "said"),
    [
        ((40, 4000), (None, None), "got 40x4000, which gives 64x6400. Give `width` and `height`"),
        ((5000, 300), (None, None), "got 5000x300, which gives 5000x296."),
        ((600, 400), (60, None), "`width` must be a multiple of 8 in"),
        ((600, 400), (None, 4104), "`height` must be a multiple of 8 in"),
        ((600, 400), (100, 64), "`width` must be a multiple of 8 in"),
    ],
)
def test_sizes_out_of_range_are_refused(size: Any, asked: Any, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        fitted_size(size, width=asked[0], height=asked[1], multiple=8)
    assert said in str(caught.value)


def test_fit_does_what_diffusers_does() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (69, 75, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(fit(image, (72, 64))), np.asarray(image.resize((72, 64), Image.Resampling.LANCZOS)))
    assert np.array_equal(np.asarray(fit(image, image.size)), np.asarray(image))
    assert fit(image, image.size) is not image


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_a_picture_of_the_right_size_keeps_its_pixels(mode: str) -> None:
    image = Image.fromarray(NOISE)
    assert np.array_equal(np.asarray(fit(image, image.size, mode)), NOISE)


def test_crop_keeps_the_centre_and_pad_keeps_everything() -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = (255, 0, 0)
    assert (np.asarray(fit(Image.fromarray(wide), (64, 64), "crop")) == (255, 0, 0)).all()
    padded = np.asarray(fit(Image.new("RGB", (128, 64), "red"), (64, 64), "pad", (0, 0, 255)))
    expected = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    expected[16:48] = (255, 0, 0)
    assert np.array_equal(padded, expected)


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(1, 40), st.integers(1, 40)), MODES)
def test_every_size_can_be_brought_to_every_other(size: tuple[int, int], wanted: tuple[int, int], mode: str) -> None:
    result = fit(Image.new("RGB", size, (9, 8, 7)), wanted, mode, background=(9, 8, 7))
    assert (result.mode, result.size) == ("RGB", wanted)
    assert result.getcolors() == [(wanted[0] * wanted[1], (9, 8, 7))]


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_pad_keeps_the_proportions_to_a_pixel(size: tuple[int, int]) -> None:
    inside = fit(Image.new("RGB", size, "red"), (200, 120), "pad", (0, 0, 255)).getchannel("R").getbbox()
    assert inside is not None
    scale = min(200 / size[0], 120 / size[1])
    assert abs(inside[2] - inside[0] - size[0] * scale) <= 1
    assert abs(inside[3] - inside[1] - size[1] * scale) <= 1


def test_wrong_modes_are_refused() -> None:
    said = r"`resize_mode` must be one of fit, crop, pad, stretch, got 'corp'\. Did you mean 'crop'"
    with pytest.raises(ParameterError, match=said):
        fit(Image.fromarray(NOISE), (64, 64), "corp")
    calls: list[Callable[[Image.Image], object]] = [content_address, lambda image: fit(image, (64, 64))]
    for call in calls:
        with pytest.raises(NbdiffuseError, match="an RGB picture, got 'P'"):
            call(Image.new("P", (8, 8)))

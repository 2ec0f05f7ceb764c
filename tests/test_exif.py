"""Comments in JPEG and WebP: ours are read by other people's readers, and theirs by ours, however they write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import piexif
import piexif.helper
import pytest
import sd_parsers
import strangers
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from nbdiffuse import Recipe, read, resolve
from nbdiffuse.metadata import exif, image_files
from nbdiffuse.metadata.provenance import Provenance

PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")
RECIPE = resolve(Recipe(prompt='a "cat", 漢字 🙂, (snow:1.2)', negative_prompt="ugly, blurry", scheduler="DDIM", seed=7))
TEXT = strangers.a1111("Ätna im Winter, 漢字", "ugly")


def a1111_reads(file: Path) -> str:
    """Read generation text with the lines of AUTOMATIC1111's `read_info_from_image`."""
    with Image.open(file) as image:
        held = piexif.load(image.info["exif"])
    comment = held.get("Exif", {}).get(piexif.ExifIFD.UserComment, b"")
    try:
        return str(piexif.helper.UserComment.load(comment))
    except ValueError:
        return str(comment.decode("utf8", errors="ignore"))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_other_peoples_readers_get_the_text_of_our_files(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"cat{suffix}"
    image_files.write(PICTURE, file, Provenance(RECIPE, version="1"))
    with Image.open(file) as image:
        held = piexif.load(image.info["exif"])
        # Type 7 is UNDEFINED; piexif gives a tuple of numbers for BYTE.
        assert isinstance(held["Exif"][piexif.ExifIFD.UserComment], bytes)
        assert held["0th"].keys() == {piexif.ImageIFD.ExifTag}
    text = image_files.read(file).parameters
    assert text is not None and a1111_reads(file) == text
    assert_sd_parsers_reads(file)


def test_other_peoples_readers_get_the_text_of_our_png(tmp_path: Path) -> None:
    image_files.write(PICTURE, tmp_path / "cat.png", Provenance(RECIPE, version="1"))
    assert_sd_parsers_reads(tmp_path / "cat.png")


def assert_sd_parsers_reads(file: Path) -> None:
    found = sd_parsers.ParserManager().parse(file)
    assert found is not None
    [sampler] = found.samplers
    assert (found.full_prompt, found.full_negative_prompt) == (RECIPE.prompt, RECIPE.negative_prompt)
    assert sampler.name == "DDIM" and sampler.model is not None and sampler.model.name == "sd15"
    said = {name: float(sampler.parameters[name]) for name in ("steps", "seed", "cfg_scale")}
    assert said == {"steps": RECIPE.num_inference_steps, "seed": 7, "cfg_scale": RECIPE.guidance_scale}


def test_the_block_is_laid_out_as_the_format_says() -> None:
    block = exif.block_with_comment("a")
    # Big-endian; one entry that points to the second block; its one entry is UserComment, of type 7, 10 bytes long.
    assert block[:16] == b"Exif\0\0MM\0*\0\0\0\x08\0\x01"
    assert block[32 + 2 :][:8] == b"\x92\x86\0\x07\0\0\0\x0a"
    assert block.endswith(b"UNICODE\0\0a")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1).map(str.strip).filter(bool))
def test_any_text_is_read_by_piexif_as_it_is(text: str) -> None:
    comment = piexif.load(exif.block_with_comment(text))["Exif"][piexif.ExifIFD.UserComment]
    assert piexif.helper.UserComment.load(comment) == text


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_file_of_automatic1111_is_read(tmp_path: Path, suffix: str) -> None:
    file = strangers.jpeg(tmp_path / f"a{suffix}", TEXT)
    assert a1111_reads(file) == TEXT
    assert image_files.read(file) == image_files.Metadata(None, TEXT)


WAYS = {
    "utf-16, big-endian": b"UNICODE\0" + TEXT.encode("utf-16-be"),
    "utf-16, little-endian": b"UNICODE\0" + TEXT.encode("utf-16-le"),
    "utf-16 with a mark": b"UNICODE\0" + b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "utf-16 with the other mark": b"UNICODE\0" + b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "utf-8 called unicode": b"UNICODE\0" + TEXT.encode(),
    "ascii": b"ASCII\0\0\0" + TEXT.encode(),
    "undefined": b"\0" * 8 + TEXT.encode(),
    "nothing in front": TEXT.encode(),
    "utf-16 with nothing in front": TEXT.encode("utf-16-le"),
    "ends in zeros": b"ASCII\0\0\0" + TEXT.encode() + b"\0\0",
}


@pytest.mark.parametrize("ifd", ["Exif", "0th"])
@pytest.mark.parametrize("way", WAYS)
def test_a_comment_is_read_however_it_is_written(tmp_path: Path, way: str, ifd: str) -> None:
    file = strangers.with_comment(tmp_path / "a.jpg", WAYS[way], ifd)
    assert image_files.read(file).parameters == TEXT
    reading = read(file)
    assert (reading.tool, reading.recipe.prompt, reading.recipe.seed) == ("AUTOMATIC1111", "Ätna im Winter, 漢字", 965400086)


def test_a_mark_of_the_byte_order_is_no_part_of_the_prompt(tmp_path: Path) -> None:
    file = strangers.png(tmp_path / "a.png", parameters="\ufeff" + TEXT)
    assert read(file).recipe.prompt == "Ätna im Winter, 漢字"


@pytest.mark.parametrize("tag", [ExifTags.Base.XPComment, ExifTags.Base.ImageDescription])
def test_other_places_of_exif_are_looked_at(tmp_path: Path, tag: int) -> None:
    held: Any = Image.Exif()
    text = strangers.a1111("a cat", "ugly")
    held[tag] = text.encode("utf-16-le") if tag == ExifTags.Base.XPComment else text
    PICTURE.save(tmp_path / "a.jpg", exif=held)
    assert image_files.read(tmp_path / "a.jpg").parameters == text


def test_the_comment_of_a_jpeg_itself_is_looked_at(tmp_path: Path) -> None:
    file = strangers.exiftool_jpeg(tmp_path / "a.jpg", TEXT)
    assert read(file).recipe.negative_prompt == "ugly"


def test_xmp_is_looked_at(tmp_path: Path) -> None:
    file = strangers.draw_things(tmp_path / "a.png", strangers.DRAW_THINGS)
    reading = read(file)
    assert (reading.tool, reading.recipe.prompt, reading.recipe.height) == ("Draw Things", "a red boat", 768)
    with Image.open(file) as image:
        assert read(image).recipe == reading.recipe
        image.save(tmp_path / "a.webp", xmp=image.info["XML:com.adobe.xmp"].encode())
    assert read(tmp_path / "a.webp").recipe == reading.recipe


def test_the_webp_of_comfyui_is_read(tmp_path: Path) -> None:
    reading = read(strangers.comfy_webp(tmp_path / "a.webp", strangers.comfy()))
    assert (reading.tool, reading.recipe.seed) == ("ComfyUI", 156680208700286)


@pytest.mark.parametrize("scheme", ["fooocus", "a1111"])
def test_the_jpeg_of_fooocus_is_read(tmp_path: Path, scheme: str) -> None:
    text = json.dumps(strangers.fooocus()) if scheme == "fooocus" else strangers.a1111("a fox")
    reading = read(strangers.fooocus_jpeg(tmp_path / "a.jpg", text, scheme))
    assert (reading.tool, reading.recipe.prompt, reading.recipe.model) == ("Fooocus", "a fox", "sdxl")


@given(st.binary(max_size=200), st.sampled_from([b"", b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8]))
def test_any_bytes_are_some_text(content: bytes, prefix: bytes) -> None:
    assert isinstance(exif.decoded(prefix + content), str)

"""Texts of PNG files: before the pixels and behind them, compressed or not, and none that is not asked for."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
import strangers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nbdiffuse import Recipe, read, resolve
from nbdiffuse.errors import FileError
from nbdiffuse.metadata import image_files, png_text
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.dropped_file import dropped_file

PICTURE = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
TEXT = strangers.a1111("Ätna im Winter", "ugly")


def test_our_own_text_is_read_behind_the_pixels_too(tmp_path: Path) -> None:
    recipe = resolve(Recipe(prompt="a cat, 漢字", seed=7))
    image_files.write(PICTURE, tmp_path / "a.png", Provenance(recipe, {"torch": "2"}))
    before = image_files.read(tmp_path / "a.png")
    strangers.behind_the_pixels(tmp_path / "a.png")
    assert image_files.read(tmp_path / "a.png") == before and before.provenance is not None
    with Image.open(tmp_path / "a.png") as image:
        assert "nbdiffuse" not in image.info and image_files.read(image) == before
    assert dropped_file("a.png", (tmp_path / "a.png").read_bytes()) is not None


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt", "iTXt compressed"])
@pytest.mark.parametrize("behind", [False, True])
def test_every_kind_of_text_is_read_wherever_it_stands(tmp_path: Path, chunk: str, behind: bool) -> None:
    info, file = PngInfo(), tmp_path / "a.png"
    if chunk.startswith("iTXt"):
        info.add_itxt("parameters", TEXT, lang="de", tkey="Übersetzt", zip="compressed" in chunk)
    else:
        info.add_text("parameters", TEXT, zip=chunk == "zTXt")
    PICTURE.save(file, pnginfo=info)
    if behind:
        strangers.behind_the_pixels(file)
    assert image_files.read(file) == image_files.Metadata(None, TEXT)
    assert image_files.read(file.read_bytes()) == image_files.read(file)
    with Image.open(file) as image:
        assert image_files.read(image) == image_files.read(file)


def test_text_that_is_not_latin_where_it_ought_to_be_is_read(tmp_path: Path) -> None:
    info = PngInfo()
    info.add(b"tEXt", b"parameters\0" + strangers.a1111("漢字").encode())
    PICTURE.save(tmp_path / "a.png", pnginfo=info)
    assert read(tmp_path / "a.png").recipe.prompt == "漢字"


def test_the_animation_of_comfyui_is_read(tmp_path: Path) -> None:
    assert read(strangers.animated(tmp_path / "a.png", strangers.comfy())).recipe.seed == 156680208700286


def test_a_workflow_of_any_size_is_no_reason_to_refuse_the_rest(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("workflow", "x" * 6_000_000, zip=True)
    info.add_text("prompt", json.dumps(strangers.comfy()))
    PICTURE.save(tmp_path / "a.png", pnginfo=info)
    assert read(tmp_path / "a.png").tool == "ComfyUI"


def test_a_picture_whose_only_text_is_a_huge_one_of_nobody_says_nothing(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("workflow", "x" * 6_000_000, zip=True)
    PICTURE.save(tmp_path / "a.png", pnginfo=info)
    assert image_files.read(tmp_path / "a.png") == image_files.Metadata(None, None)


def test_a_folder_is_searched_without_decoding_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PICTURE.convert("RGBA").save(tmp_path / "a.png")
    PICTURE.save(tmp_path / "b.webp")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    for name in ("a.png", "b.webp"):
        assert image_files.read(tmp_path / name) == image_files.Metadata(None, None)


@pytest.mark.parametrize("size", [1_000_001, 5_000_000])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_text_that_is_too_large_is_refused(tmp_path: Path, size: int, zipped: bool) -> None:
    info = PngInfo()
    info.add_itxt("parameters", "x" * size, zip=zipped)
    PICTURE.save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(FileError, match="larger than 1 MB"):
        image_files.read(tmp_path / "a.png")


@given(st.data())
def test_no_bytes_behind_the_signature_break_it(data: st.DataObject) -> None:
    kinds = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"comf", b"IDAT", b"IEND", b"\xff\xff\xff\xff"])
    content = b""
    for _ in range(data.draw(st.integers(0, 4))):
        body = data.draw(st.sampled_from([b"", b"a\0", b"a", b"a\0\0x\x9c", b"a\0\1\0\0\0"])) + data.draw(st.binary(max_size=20))
        length = data.draw(st.sampled_from([len(body), 0, 2**31, 2**32 - 1]))
        content += length.to_bytes(4, "big") + data.draw(kinds) + body + b"\0\0\0\0"
    found, _ = png_text.read(io.BytesIO(png_text.SIGNATURE + content), {"a"})
    assert all(text is None or isinstance(text, str) for text in found.values())

"""Texts in the lowest bits of a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import strangers
from PIL import Image

from nbdiffuse import read
from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.metadata import image_files, stealth

TEXT = strangers.a1111("a red boat, 漢字", "fog")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("signature", [b"stealth_pngcomp", b"stealth_pnginfo", b"stealth_rgbcomp", b"stealth_rgbinfo"])
def test_a_text_in_the_lowest_bits_is_read(tmp_path: Path, suffix: str, signature: bytes) -> None:
    file = strangers.stealth(tmp_path / f"a{suffix}", TEXT, signature)
    reading = read(file)
    assert (reading.tool, reading.recipe.prompt, reading.recipe.negative_prompt) == ("AUTOMATIC1111", "a red boat, 漢字", "fog")
    with Image.open(file) as image:
        assert read(image).recipe == reading.recipe
    assert read(file.read_bytes()).recipe == reading.recipe


def test_the_lowest_bits_of_novelai_are_read(tmp_path: Path) -> None:
    reading = read(strangers.stealth(tmp_path / "a.png", json.dumps(strangers.NOVELAI)))
    assert (reading.tool, reading.recipe.prompt, reading.recipe.negative_prompt) == ("NovelAI", "a red boat", "fog")


@pytest.mark.parametrize("size", [(16, 16), (1, 4000), (4000, 1), (120, 1), (8, 8)])
def test_a_text_that_is_longer_than_its_picture_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    file = strangers.stealth(tmp_path / "a.png", TEXT * 20, b"stealth_pnginfo", size)
    try:
        image_files.read(file, hidden=True)
    except NbdiffuseError as error:
        assert "\n" not in str(error)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = strangers.stealth(tmp_path / "a.png", "x" * 30_000_000, size=(600, 600))
    with pytest.raises(NbdiffuseError, match="larger than 1 MB"):
        image_files.read(file, hidden=True)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "1", "I;16"])
def test_a_picture_without_any_says_nothing(mode: str) -> None:
    assert stealth.read(Image.new(mode, (3, 200))) is None

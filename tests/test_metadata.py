"""Files that know their recipe: read back whole, never written half, and never trusted."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import strangers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import FileError, ImageInputError, NbdiffuseError, ParameterError
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.provenance import Provenance

PICTURE = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
RECIPE = resolve(Recipe(prompt='a "cat", 漢字 🙂\nNegative prompt: no', negative_prompt="ugly", image=PICTURE, seed=7))
PROVENANCE = Provenance(RECIPE, {"torch": "2.13"}, (RECIPE.image.address,), None, "0.1")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_every_kind_of_file_carries_recipe_and_text(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"cat{suffix}"
    image_files.write(PICTURE, file, PROVENANCE)
    found = image_files.read(file)
    assert found.provenance == PROVENANCE
    assert found.parameters is not None and "Steps: 50, Sampler: PLMS, CFG scale: 7.5, Seed: 7" in found.parameters
    if suffix.lower() in (".png", ".webp"):
        assert Image.open(file).convert("RGB").tobytes() == PICTURE.tobytes()


def test_a_png_says_the_same_to_other_tools(tmp_path: Path) -> None:
    image_files.write(PICTURE, tmp_path / "cat.png", PROVENANCE)
    info = Image.open(tmp_path / "cat.png").info
    assert info["parameters"].endswith("RNG: CPU, Version: nbdiffuse 0.1")
    assert json.loads(info["nbdiffuse"])["recipe"]["image"].startswith("sha256:")


def test_nothing_personal_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    source = tmp_path / "my holiday.png"
    PICTURE.save(source)
    recipe = resolve(Recipe(prompt="a cat", image=source, seed=1))
    image_files.write(PICTURE, tmp_path / "out.png", Provenance(recipe))
    content = (tmp_path / "out.png").read_bytes()
    for secret in (b"hf_canary", str(tmp_path).encode(), b"holiday", os.path.expanduser("~").encode() + b"/"):
        assert secret not in content


def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"must be a file name that ends in \.png"):
        image_files.write(PICTURE, tmp_path / "cat.gif", PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    image_files.write(PICTURE, tmp_path / "new" / "er" / "cat.png", PROVENANCE)
    assert image_files.read(tmp_path / "new" / "er" / "cat.png").provenance == PROVENANCE


def test_a_full_disk_spares_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        with pytest.raises(FileError, match=r"no space is left|cannot be written"):
            image_files.write(PICTURE, file, PROVENANCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_a_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "plain.png")
    assert image_files.read(tmp_path / "plain.png") == image_files.Metadata(None, None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format":9}', '{"format":1,"recipe":{"format":1,"strength":9}}', "[" * 9999]
)
def test_damaged_provenance_is_one_clear_line(tmp_path: Path, text: str) -> None:
    info = PngInfo()
    info.add_itxt("nbdiffuse", text)
    PICTURE.save(tmp_path / "cat.png", pnginfo=info)
    if text:
        with pytest.raises(NbdiffuseError) as caught:
            image_files.read(tmp_path / "cat.png")
        assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 3000))
def test_mutated_files_are_read_or_refused(tmp_path: Path, noise: bytes, where: int) -> None:
    file = tmp_path / "cat.png"
    image_files.write(PICTURE, file, PROVENANCE)
    content = bytearray(file.read_bytes())
    content[where : where + len(noise)] = noise
    file.write_bytes(content)
    try:
        image_files.read(file)
    except NbdiffuseError as error:
        assert "\n" not in str(error)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(prompt=TEXTS, negative=TEXTS, suffix=st.sampled_from([".png", ".jpg", ".webp"]), partial=st.none() | st.integers(0, 99))
def test_any_prompt_survives_any_file(tmp_path: Path, prompt: str, negative: str, suffix: str, partial: int | None) -> None:
    recipe = resolve(Recipe(prompt=prompt, negative_prompt=negative, seed=1))
    provenance = Provenance(recipe, {"torch": "2.13.0+cu130"}, (recipe.digest,), partial, "1")
    image_files.write(PICTURE, tmp_path / f"a{suffix}", provenance)
    assert image_files.read(tmp_path / f"a{suffix}").provenance == provenance
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image_files.read(image).provenance == provenance


def provenance_of(prompt: str) -> Provenance:
    return Provenance(resolve(Recipe(prompt=prompt, seed=1)), version="1")


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_xmp_is_xml_whatever_the_prompt(tmp_path: Path, suffix: str) -> None:
    provenance = provenance_of("a <b> & ]]> \ufffe\uffff\0\r\x1f %s &amp; 漢")
    image_files.write(PICTURE, tmp_path / f"a{suffix}", provenance)
    with Image.open(tmp_path / f"a{suffix}") as image:
        tree = ElementTree.fromstring(image.info["xmp"])
    inside = next(tree.iter("{urn:nbdiffuse}provenance")).text
    assert inside is not None and Provenance.from_json(inside) == provenance


@pytest.mark.parametrize("fingerprint", [{"torch": "\ud800"}, {"a & b": "<x> ]]>"}, {"device": "/home/alice"}])
def test_what_no_fingerprint_may_say_is_not_written(tmp_path: Path, fingerprint: dict[str, str]) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        image_files.write(PICTURE, tmp_path / f"a{suffix}", Provenance(RECIPE, {"dtype": "float32", **fingerprint}))
        assert image_files.read(tmp_path / f"a{suffix}").provenance == Provenance(RECIPE, {"dtype": "float32"})


@pytest.mark.parametrize(("suffix", "length"), [(".jpg", 10_000), (".png", 200_000), (".webp", 200_000)])
def test_a_long_prompt_is_kept_whole(tmp_path: Path, suffix: str, length: int) -> None:
    image_files.write(PICTURE, tmp_path / f"a{suffix}", provenance_of("漢" * length))
    assert image_files.read(tmp_path / f"a{suffix}").provenance == provenance_of("漢" * length)


@pytest.mark.parametrize(("suffix", "prompt", "way_out"), [(".jpg", "漢" * 40_000, "webp"), (".png", "a" * 1_000_001, "Shorten")])
def test_a_prompt_that_a_file_cannot_give_back_is_refused(tmp_path: Path, suffix: str, prompt: str, way_out: str) -> None:
    with pytest.raises(FileError, match=way_out):
        image_files.write(PICTURE, tmp_path / f"a{suffix}", provenance_of(prompt))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_what_the_picture_carried_before_is_not_written(tmp_path: Path, suffix: str) -> None:
    picture = PICTURE.copy()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "canary"
    picture.info = dict.fromkeys(("comment", "xmp", "icc_profile", "Author"), b"canary") | {"exif": exif.tobytes()}
    image_files.write(picture, tmp_path / f"a{suffix}", PROVENANCE)
    assert b"canary" not in (tmp_path / f"a{suffix}").read_bytes() and picture.info["comment"] == b"canary"


def test_a_path_is_no_parent_and_a_word_no_number_of_steps() -> None:
    for parents in (("/home/someone/cat.png",), ("sha256:abc",), "ab"):
        with pytest.raises(ParameterError, match="parents"):
            Provenance(RECIPE, parents=parents)  # type: ignore[arg-type]
    for partial in (-1, True, "3"):
        with pytest.raises(ParameterError, match="partial"):
            Provenance(RECIPE, partial=partial)  # type: ignore[arg-type]


def test_a_picture_with_transparency_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ImageInputError, match="RGB"):
        image_files.write(PICTURE.convert("RGBA"), tmp_path / "a.png", PROVENANCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("point", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "full"), PermissionError(13, "no"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_at_any_point_spares_the_old_file_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, error: BaseException
) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"before")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, point, fail)
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)) as caught:
        image_files.write(PICTURE, file, PROVENANCE)
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]
    if isinstance(error, OSError):
        assert str(file) in str(caught.value) and "MB free" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no\nsuch/a.png", "a\0.png", "~nosuchuser/a.png", "x" * 300 + ".png", "\udc80/a.png"])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="cannot be written") as caught:
        image_files.write(PICTURE, name, PROVENANCE)
    assert str(caught.value).isprintable() and list(tmp_path.iterdir()) == []
    with pytest.raises(ImageInputError, match="cannot be read") as unread:
        image_files.read(name)
    assert str(unread.value).isprintable()


def test_a_saved_picture_gets_what_the_umask_allows(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        image_files.write(PICTURE, tmp_path / "a.png", PROVENANCE)
    finally:
        os.umask(old)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_the_home_folder_is_understood_when_writing_and_when_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    image_files.write(PICTURE, "~/a.png", PROVENANCE)
    assert image_files.read("~/a.png").provenance == PROVENANCE


@pytest.mark.parametrize("prefix", [b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8])
def test_a_comment_of_a_camera_is_no_generation_text(tmp_path: Path, prefix: bytes) -> None:
    strangers.with_comment(tmp_path / "a.jpg", prefix + "my holiday".encode("utf-16-be"))
    assert image_files.read(tmp_path / "a.jpg") == image_files.Metadata(None, None)


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_the_text_of_another_tool_is_read_in_either_byte_order(tmp_path: Path, encoding: str) -> None:
    text = "a cat\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 5"
    strangers.with_comment(tmp_path / "a.webp", b"UNICODE\0" + text.encode(encoding))
    assert image_files.read(tmp_path / "a.webp") == image_files.Metadata(None, text)


HOSTILE = [
    {"nbdiffuse": "x" * 1_000_001},
    {"parameters": "x" * 1_000_001},
    {"nbdiffuse": b"bytes"},
    {"exif": b"Exif\0\0garbage"},
    {"nbdiffuse": json.dumps({"format": 1, "recipe": {"format": 1, "x" * 900_000: 1}})},
    {"nbdiffuse": json.dumps({"format": 1, "recipe": json.loads(RECIPE.to_json()), "partial": "<script>"})},
    {"nbdiffuse": json.dumps({"format": 1, "recipe": json.loads(RECIPE.to_json()), "parents": "abc"})},
    {"nbdiffuse": json.dumps({"format": 1, "recipe": json.loads(RECIPE.to_json()), "fingerprint": [1]})},
    {"xmp": b"<nbdiffuse:provenance>{</nbdiffuse:provenance>"},
]


@pytest.mark.parametrize("info", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_a_picture_is_one_short_line(info: dict[str, object]) -> None:
    picture = PICTURE.copy()
    picture.info.update(info)
    with pytest.raises(NbdiffuseError) as caught:
        image_files.read(picture)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_xmp_of_other_tools_is_left_alone(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.webp", xmp=b'<!DOCTYPE x [<!ENTITY a "aa">]><x>' + b"&a;" * 600_000 + b"</x>")
    assert image_files.read(tmp_path / "a.webp") == image_files.Metadata(None, None)


WRITER = """
import sys
sys.path.insert(0, {path!r})
import test_metadata as t
from PIL import Image
pictures = [Image.new("RGB", (256, 256), color) for color in ("navy", "teal")]
for number in range(100_000):
    t.image_files.write(pictures[number % 2], {file!r}, t.PROVENANCE)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_leaves_a_whole_file(tmp_path: Path, kills: int) -> None:
    file, dice = tmp_path / "cat.png", random.Random(kills)
    for _ in range(kills):
        file.unlink(missing_ok=True)
        child = subprocess.Popen([sys.executable, "-c", WRITER.format(path=str(Path(__file__).parent), file=str(file))])
        while not file.exists() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(dice.random() * 0.1)
        child.kill()
        child.wait()
        assert image_files.read(file).provenance == PROVENANCE
        with Image.open(file) as image:
            assert image.convert("RGB").getpixel((255, 255)) in ((0, 0, 128), (0, 128, 128))

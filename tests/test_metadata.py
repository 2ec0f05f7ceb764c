"""Files that know their recipe: read back whole, never written half, and never trusted."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nbdiffuse import Recipe, metadata, resolve
from nbdiffuse.errors import FileError, NbdiffuseError

PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")
RECIPE = resolve(Recipe(prompt='a "cat", 漢字 🙂\nNegative prompt: no', negative_prompt="ugly", image=PICTURE, seed=7))
PROVENANCE = metadata.Provenance(RECIPE, {"torch": "2.13"}, (RECIPE.image.address,), None, "0.1")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_every_kind_of_file_carries_recipe_and_text(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"cat{suffix}"
    metadata.write(PICTURE, file, PROVENANCE)
    found = metadata.read(file)
    assert found.provenance == PROVENANCE
    assert found.parameters is not None and "Steps: 50, Sampler: PLMS, CFG scale: 7.5, Seed: 7" in found.parameters
    if suffix.lower() in (".png", ".webp"):
        assert Image.open(file).convert("RGB").tobytes() == PICTURE.tobytes()


def test_a_png_says_the_same_to_other_tools(tmp_path: Path) -> None:
    metadata.write(PICTURE, tmp_path / "cat.png", PROVENANCE)
    info = Image.open(tmp_path / "cat.png").info
    assert info["parameters"].endswith("RNG: CPU, Version: nbdiffuse 0.1")
    assert json.loads(info["nbdiffuse"])["recipe"]["image"].startswith("sha256:")


def test_nothing_personal_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    source = tmp_path / "my holiday.png"
    PICTURE.save(source)
    recipe = resolve(Recipe(prompt="a cat", image=source, seed=1))
    metadata.write(PICTURE, tmp_path / "out.png", metadata.Provenance(recipe))
    content = (tmp_path / "out.png").read_bytes()
    for secret in (b"hf_canary", str(tmp_path).encode(), b"holiday", os.path.expanduser("~").encode() + b"/"):
        assert secret not in content


def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"must be a file name that ends in \.png"):
        metadata.write(PICTURE, tmp_path / "cat.gif", PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"the folder .* does not exist"):
        metadata.write(PICTURE, tmp_path / "no" / "cat.png", PROVENANCE)


def test_a_full_disk_spares_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        with pytest.raises(FileError, match=r"no space is left|cannot be written"):
            metadata.write(PICTURE, file, PROVENANCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_a_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "plain.png")
    assert metadata.read(tmp_path / "plain.png") == metadata.Metadata(None, None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format":9}', '{"format":1,"recipe":{"format":1,"strength":9}}', "[" * 9999]
)
def test_damaged_provenance_is_one_clear_line(tmp_path: Path, text: str) -> None:
    info = PngInfo()
    info.add_itxt("nbdiffuse", text)
    PICTURE.save(tmp_path / "cat.png", pnginfo=info)
    if text:
        with pytest.raises(NbdiffuseError) as caught:
            metadata.read(tmp_path / "cat.png")
        assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 3000))
def test_mutated_files_are_read_or_refused(tmp_path: Path, noise: bytes, where: int) -> None:
    file = tmp_path / "cat.png"
    metadata.write(PICTURE, file, PROVENANCE)
    content = bytearray(file.read_bytes())
    content[where : where + len(noise)] = noise
    file.write_bytes(content)
    try:
        metadata.read(file)
    except NbdiffuseError as error:
        assert "\n" not in str(error)

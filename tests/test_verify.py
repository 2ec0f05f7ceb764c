"""Verification: what was saved is made again and compared; and what stands in the way is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strangers
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Chain, Recipe
from nbdiffuse.errors import FileError, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.results import Result
from nbdiffuse.runs.verify import DIFFERENT, IDENTICAL, TOLERABLE, UNKNOWN, verify


@pytest.fixture(scope="module")
def made(scene: Any) -> Result:
    return nbdiffuse.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, strength=0.5, seed=3))


def altered(image: Image.Image, by: int) -> Image.Image:
    pixels = np.asarray(image).astype(int)
    return Image.fromarray(np.where(pixels + by > 255, pixels - by, pixels + by).astype(np.uint8))


def saved(file: Path, image: Image.Image, made: Result, **fingerprint: str) -> Path:
    recipe = made.recipe
    image_files.write(image, file, Provenance(recipe, {**made.fingerprint, **fingerprint}, (), None, "0"))
    return file


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_an_untouched_file_is_identical(made: Result, tmp_path: Path, suffix: str) -> None:
    (verdict,) = verify(made.save(tmp_path / f"cat{suffix}"))
    assert (verdict.state, verdict.changed, verdict.reason) == (IDENTICAL, (), "")


def test_a_result_and_a_chain_are_verified_by_running_them_again(made: Result, scene: Any) -> None:
    steps = {"num_inference_steps": 2, "seed": 4}
    run = nbdiffuse.run(Recipe(prompt="a cat", image=scene.image, **steps) >> Recipe(prompt="a house", strength=0.5, **steps))
    before = list(nbdiffuse.get_session().history)
    assert [verdict.state for verdict in verify(made, run, run[0])] == [IDENTICAL] * 3
    after = list(nbdiffuse.get_session().history)
    assert [id(each) for each in after] == [id(each) for each in before], "a check leaves the history as it was"


def test_a_chain_in_a_file_is_verified_in_another_process(scene: Any, tmp_path: Path) -> None:
    steps = {"num_inference_steps": 2, "seed": 4}
    run = nbdiffuse.run(Recipe(prompt="a cat", image=scene.image, **steps) >> Recipe(prompt="a house", strength=0.5, **steps))
    run.save(tmp_path / "house.png")
    code = "import sys, nbdiffuse; print(nbdiffuse.verify(sys.argv[1])[0].state)"
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "house.png")], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == IDENTICAL


def test_small_and_large_differences_are_told_apart(made: Result, tmp_path: Path) -> None:
    speck = np.asarray(made.image).copy()
    speck[0, 0, 0] ^= 4
    near = saved(tmp_path / "near.png", Image.fromarray(speck), made)
    far = saved(tmp_path / "far.png", altered(made.image, 60), made)
    first, second = verify(near, far)
    assert (first.state, second.state) == (TOLERABLE, DIFFERENT)
    assert first.distance is not None and first.distance.largest == 4
    assert second.distance is not None and second.distance.largest == 60 and "SSIM" in repr(second)


def test_what_changed_since_is_named(made: Result, tmp_path: Path) -> None:
    (verdict,) = verify(saved(tmp_path / "old.png", made.image, made, torch="1.13.0", attention="xformers"))
    assert {name for name, _, _ in verdict.changed} == {"torch", "attention"}
    assert "torch was 1.13.0, is" in repr(verdict)


def test_the_number_of_threads_is_part_of_what_changes_pixels(made: Result) -> None:
    assert made.fingerprint["threads"] == str(torch.get_num_threads())


def test_another_size_is_a_difference(made: Result, tmp_path: Path) -> None:
    (verdict,) = verify(saved(tmp_path / "small.png", made.image.resize((64, 64)), made))
    assert verdict.state == DIFFERENT and "64x64" in verdict.reason


def test_a_folder_is_verified_file_by_file_with_progress(made: Result, tmp_path: Path) -> None:
    made.save(tmp_path / "a.png")
    strangers.png(tmp_path / "b.png", parameters=strangers.a1111())
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"torn")
    (tmp_path / "notes.txt").write_text("no picture")
    image_files.write(made.image, tmp_path / "e.png", Provenance(made.recipe, {}, (), 3, "0"))
    seen: list[tuple[int, int, str]] = []
    verdicts = verify(tmp_path, on_progress=lambda *each: seen.append(each))
    assert [verdict.state for verdict in verdicts] == [IDENTICAL, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert [each[0] for each in seen] == [0, 1, 2, 3, 4] and {each[1] for each in seen} == {5}
    assert all(verdict.reason and "\n" not in verdict.reason for verdict in verdicts[1:])
    assert verdicts.summary == "1 identical, 4 not verified"
    assert "stopped after 3 steps" in verdicts[4].reason


def test_an_initial_picture_that_is_nowhere_is_named_and_one_beside_the_file_is_found(made: Result, tmp_path: Path) -> None:
    """In another process with another store: the picture is found beside the file by its pixels, whatever its name."""
    made.save(tmp_path / "cat.png")
    code = "import sys, nbdiffuse; print(nbdiffuse.verify(sys.argv[1])[0])"
    environment = {**os.environ, "NBDIFFUSE_CACHE": str(tmp_path / "cache")}

    def said() -> str:
        command = [sys.executable, "-c", code, str(tmp_path / "cat.png")]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert "not verified | The initial image sha256:" in said()
    assert isinstance(made.recipe.image, Picture)
    made.recipe.image.image.save(tmp_path / "any name.png")
    assert "cat.png: identical" in said()


def test_what_cannot_be_verified_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="results, files or folders"):
        verify(3)  # type: ignore[arg-type]
    assert "nothing to verify" in repr(verify(tmp_path)) or verify(tmp_path).summary == "nothing to verify"
    with pytest.raises(FileError, match="holds no recipe of nbdiffuse"):
        nbdiffuse.replay(strangers.png(tmp_path / "b.png", parameters=strangers.a1111()))


def test_text_from_outside_is_shown_as_text(made: Result, tmp_path: Path) -> None:
    verdicts = verify(saved(tmp_path / "<b>x.png", made.image, made, torch="\x1b[31m<script>"))
    assert "<script" not in verdicts.to_html() and "<b>x" not in verdicts.to_html()
    assert all(line.isprintable() for line in repr(verdicts).splitlines())


def test_a_chain_of_one_step_in_a_file_is_its_recipe(made: Result, tmp_path: Path) -> None:
    image_files.write(made.image, tmp_path / "one.png", Provenance(made.recipe, made.fingerprint, chain=Chain((made.recipe,))))
    assert verify(tmp_path / "one.png")[0].state == IDENTICAL

"""Many pictures: what is promised of hundreds and thousands; a tenth runs every time, all of it with `-m slow`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=2, strength=0.5, seed=7, width=64, height=64)


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number:04d}.png")
    return folder


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_of_many_pictures_the_broken_ones_are_named_and_all_others_equal_single_runs(
    tmp_path: Path, session: Any, count: int
) -> None:
    photos = paint(tmp_path / "photos", count)
    broken = [f"p{number:04d}.png" for number in range(3, count, max(1, count // 5))][:5]
    for name in broken:
        (photos / name).write_bytes((photos / name).read_bytes()[:100])
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", together=1).run()
    assert len(broken) == 5 and sorted(made.failed) == broken and made.missing == 5
    for row in made.records():
        if row["name"] not in broken:
            alone = session.run(RECIPE.replace(image=photos / row["name"]))
            assert Image.open(tmp_path / "out" / row["file"]).tobytes() == alone.image.tobytes(), row["name"]


CHILD = """
import resource, sys, nbdiffuse
recipe = nbdiffuse.Recipe.from_json(sys.argv[3])
assert nbdiffuse.batch(recipe, sys.argv[1], folder=sys.argv[2]).run().missing == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(photos: Path, out: Path) -> int:
    """Return the most memory that a process of its own took for a folder, in MB."""
    words = [sys.executable, "-c", CHILD, str(photos), str(out), RECIPE.to_json()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path, count: int) -> None:
    # Ten are fewer than share a model call, so that the larger ones of a full window count against it.
    few, many = peak(paint(tmp_path / "few", 10), tmp_path / "a"), peak(paint(tmp_path / "many", count), tmp_path / "b")
    assert many - few <= 200, (few, many)

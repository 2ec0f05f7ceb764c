"""The wheel: small enough for an index, and it runs from an empty folder with all that it needs inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
LARGEST = 100_000_000
"""Bytes of a file that PyPI takes."""
CELL = """
import nbdiffuse
from nbdiffuse import Recipe, run

made = run(Recipe(prompt="a cat", image="example:penguin", num_inference_steps=2, seed=1))
print(nbdiffuse.__file__, made.image.size)
"""


@pytest.mark.slow
def test_the_wheel_is_small_and_runs_from_an_empty_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / name, source)
    shutil.copytree(HOME / "nbdiffuse", source / "nbdiffuse", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    made = subprocess.run(pip, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("nbdiffuse-*.whl")
    assert wheel.stat().st_size < LARGEST
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    shutil.rmtree(source)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", CELL], env=environment, cwd=empty, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == [str(installed / "nbdiffuse" / "__init__.py"), "(128,", "128)"]

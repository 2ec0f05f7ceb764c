"""One recipe with a mask on every surface: a cell, JSON, a file, a panel, a program."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import nbdiffuse
from nbdiffuse import Recipe, Session, read
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.magics.notebook_variables import NotebookVariables
from nbdiffuse.runs.program import script_of
from nbdiffuse.store.store import Store

QUICK: dict[str, Any] = {"prompt": "a red cat", "num_inference_steps": 3, "strength": 0.9, "guidance_scale": 2.0, "seed": 7}


def square(side: int = 128, box: tuple[int, int, int, int] = (48, 40, 79, 71)) -> Image.Image:
    """A black mask with a white square."""
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def changed(made: Image.Image, initial: Image.Image, where: Any) -> int:
    """Count the pixels that differ among those of a boolean array."""
    apart = (np.asarray(made) != np.asarray(initial)).any(-1)
    return int(apart[where].sum())


def program(what: Any, folder: Path) -> dict[str, bytes]:
    """Run the plain program of a result or a grid in a folder; return the pixels of the files that it writes."""
    folder.mkdir()
    script = script_of(what)
    script.save(folder / "program.py")
    for command in (["format", "--isolated", "--diff"], ["check", "--isolated", "--select", "I,E,F,W,B,UP", "--ignore", "E501"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "program.py"], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    before, home = set(folder.glob("*.png")), Path.cwd()
    os.chdir(folder)
    try:
        runpy.run_path("program.py", run_name="__main__")
    finally:
        os.chdir(home)
    assert set(script.results) == {file.name for file in set(folder.glob("*.png")) - before}
    return {name: Image.open(folder / name).tobytes() for name in script.results}


def swept(recipe: Recipe, session: Session, folder: Path, **axis: Any) -> list[Image.Image]:
    """Check that a grid of a recipe and its program make what its cells make one by one; return these."""
    grid = nbdiffuse.sweep(recipe, Store(folder / "store"), **axis).run()
    cells = [grid[index] for index in range(len(grid.sweep.cells()))]
    alone = [session.run(cell.recipe).image for cell in cells]
    for cell, image in zip(cells, alone, strict=True):
        # Sums of several rows may be added in another order.
        assert np.abs(np.asarray(cell.image, int) - np.asarray(image, int)).max() <= 1
    assert list(program(grid, folder / "grid").values()) == [image.tobytes() for image in alone]
    return alone


def on_every_surface(recipe: Recipe, session: Session, folder: Path) -> Image.Image:
    """Check that a recipe says the same everywhere, and makes the same pixels; return them."""
    names = {field: field for field in recipe.pictures}
    text = cell_text(recipe, names)
    assert text.startswith("%%img2img image"), text
    line, body = text.split("\n", 1)
    values = parse_cell("img2img", line.partition(" ")[2], body).values
    assert NotebookVariables({field: one.image for field, one in recipe.pictures.items()}).recipe(values) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe
    made = session.run(recipe)
    made.save(folder / "made.png")
    assert read(folder / "made.png").recipe == made.recipe
    assert list(program(made, folder / "program").values()) == [made.image.tobytes()]
    return made.image

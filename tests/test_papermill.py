"""papermill's parameters reach a magic's line as variables; the recipe holds their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbdiffuse.cells.from_file import read

CELLS = [
    "%load_ext nbdiffuse",
    "strength, steps, ugly, picture, target = 0.5, 50, 'ugly', 'none.png', 'none.png'",
    "%%img2img picture -s =strength -n =steps --seed 7 --negative-prompt =ugly --save =target\na cat {strength}",
]

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def notebook(path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=METADATA), path)
    return path


def test_papermills_parameters_reach_a_cell(tmp_path: Path, scene: Any) -> None:
    import papermill

    scene.image.save(tmp_path / "start.png")
    given = {
        "strength": 0.75,
        "steps": 4,
        "ugly": "ugly, {bad} $5 'quoted'",
        "picture": str(tmp_path / "start.png"),
        "target": str(tmp_path / "made" / "cat.png"),
    }
    papermill.execute_notebook(
        notebook(tmp_path / "in.ipynb"), tmp_path / "out.ipynb", given, kernel_name="python3", cwd=tmp_path, progress_bar=False
    )
    reading = read(tmp_path / "made" / "cat.png")
    recipe = reading.recipe
    assert (recipe.strength, recipe.num_inference_steps, recipe.negative_prompt) == (0.75, 4, given["ugly"])
    assert recipe.prompt == "a cat {strength}"
    # The cell that makes it again holds the values, not the names.
    assert "--strength 0.75" in reading.cell() and "=strength" not in reading.cell()


def test_a_parameter_that_breaks_its_rule_fails_the_notebook_in_one_line(tmp_path: Path, scene: Any) -> None:
    import papermill

    scene.image.save(tmp_path / "start.png")
    given = {"strength": 7.5, "picture": str(tmp_path / "start.png")}
    with pytest.raises(papermill.PapermillExecutionError, match=r"`strength` must be a number in \[0, 1\], got 7.5"):
        papermill.execute_notebook(
            notebook(tmp_path / "in.ipynb"), None, given, kernel_name="python3", cwd=tmp_path, progress_bar=False
        )

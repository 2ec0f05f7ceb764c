"""The README's cells run as they stand there, and its pictures are what they draw."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
import pictures  # noqa: E402

README = (ROOT / "README.md").read_text("utf-8")
BESIDE = list(pictures.cells(README))


@pytest.fixture
def shell() -> Iterator[Any]:
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "nbdiffuse")
    yield made
    made.run_line_magic("unload_ext", "nbdiffuse")
    InteractiveShell.clear_instance()


def cells_of(text: str) -> list[str]:
    """Return the cells among the fenced blocks."""
    return [block.strip("\n") + "\n" for block in text.split("```")[1::2] if block.startswith("\n%%")]


def test_every_cell_is_whole_without_what_a_person_would_have_to_make_first() -> None:
    assert len(cells_of(README)) >= 4 and {name for _, name in BESIDE} == {"wizard.png", "grid.png", "edit.png", "chain.png"}
    for cell in cells_of(README):
        assert cell.split()[1].startswith("example:"), cell


def test_every_cell_runs(shell: Any) -> None:
    for cell in cells_of(README):
        line, _, body = cell.partition("\n")
        # Fewer steps and one grid axis: the whole cells are drawn below.
        body = body.replace("]\n", " -n 2]\n")
        line = line.replace("0.2:1:0.2", "1").replace("1,4,7.5,10.5", "1,4").replace("1,1.5,2", "2")
        line += "" if line.startswith("%%chain") else " -n 2"
        assert pictures.drawn(shell, f"{line}\n{body}")[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("cell", "name"),
    [pytest.param(*pair, marks=[] if pair[1] == "wizard.png" else pytest.mark.slow, id=pair[1]) for pair in BESIDE],
)
def test_a_picture_is_what_its_cell_draws(cell: str, name: str, shell: Any) -> None:
    made = np.asarray(Image.open(io.BytesIO(pictures.drawn(shell, cell))).convert("RGB"), float)
    shown = np.asarray(Image.open(ROOT / "notebooks" / "pictures" / name).convert("RGB"), float)
    # Another machine rounds differently.
    assert made.shape == shown.shape and abs(made - shown).mean() < 2

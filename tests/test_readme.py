"""The README's cells run one after another as they stand there, and the documentation's pictures are what its cells draw."""

from __future__ import annotations

import io
import re
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

PAGES = {page.name: page.read_text("utf-8") for page in pictures.PAGES}
README = PAGES["README.md"]
BESIDE = [pair for text in PAGES.values() for pair in pictures.cells(text)]
FEWER = {"0.2:1:0.2": "0.5,1", "1,4,7.5,10.5": "1,4", "1,1.5,2": "2"}
"""Values of a grid that the pictures have and that running a cell does without."""


@pytest.fixture
def shell() -> Iterator[Any]:
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "nbdiffuse")
    yield made
    made.run_line_magic("unload_ext", "nbdiffuse")
    InteractiveShell.clear_instance()


def cells_of(text: str) -> list[str]:
    """Return the cells among the fenced blocks."""
    return [block.strip("\n") + "\n" for block in text.split("```")[1::2] if block.startswith("\n%")]


def shortened(cell: str) -> str:
    """Return a cell with fewer steps and cells."""
    line, _, body = cell.partition("\n")
    for values, fewer in FEWER.items():
        line = line.replace(values, fewer)
    if line.startswith("%%chain"):
        return f"{line}\n{body}".replace("]\n", " -n 2]\n")
    return f"{line} -n 2\n{body}" if line.startswith("%%") else cell


def test_every_cell_is_whole_without_what_a_person_would_have_to_make_first() -> None:
    assert [cell.split()[0] for cell in cells_of(README)] == ["%load_ext", "%%img2img", "%%img2img", "%%img2img", "%diffuse"]
    assert {name for _, name in BESIDE} == {"rocket.png", "grid.png", "masked.png", "edit.png", "chain.png"}
    for cell in (cell for text in PAGES.values() for cell in cells_of(text) if cell.startswith("%%")):
        assert re.match(r"%%\w+ (example:|photos/)", cell), cell


def test_the_cells_run_one_after_another_in_a_fresh_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell.instance()
    try:
        for cell in cells_of(README):
            shell.run_cell(shortened(cell)).raise_error()
        assert Path("rocket.py").exists() and shell.user_ns["masked"].image.size == (128, 128)
    finally:
        shell.run_line_magic("unload_ext", "nbdiffuse")
        InteractiveShell.clear_instance()


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if name != "README.md" and "```\n%%" in text])
def test_a_page_has_cells_that_run(page: str, shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (64, 64)).save("photos/one.png")
    for cell in cells_of(PAGES[page]):
        shell.run_cell(shortened(cell)).raise_error()


def test_every_page_leads_to_what_is_there_and_the_readme_leads_to_every_page() -> None:
    for page in pictures.PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", PAGES[page.name]):
            assert target.startswith("http") or (page.parent / target).exists(), (page.name, target)
    assert all(f"(nbdiffuse/docs/{name})" in README for name in PAGES if name != "README.md")


@pytest.mark.parametrize(
    ("cell", "name"),
    [pytest.param(*pair, marks=[] if pair[1] == "rocket.png" else pytest.mark.slow, id=pair[1]) for pair in dict(BESIDE).items()],
)
def test_a_picture_is_what_its_cell_draws(cell: str, name: str, shell: Any) -> None:
    made = np.asarray(Image.open(io.BytesIO(pictures.drawn(shell, cell))).convert("RGB"), float)
    shown = np.asarray(Image.open(ROOT / "notebooks" / "pictures" / name).convert("RGB"), float)
    # Another machine rounds differently.
    assert made.shape == shown.shape and abs(made - shown).mean() < 2


def test_the_tour_is_an_animation_that_loads_fast() -> None:
    tour = ROOT / "notebooks" / "pictures" / "tour.webp"
    assert tour.stat().st_size <= 3_000_000 and Image.open(tour).n_frames > 20

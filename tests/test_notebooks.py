"""The tutorials: what is stored is what their code made, and it reads well without a kernel."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_500_000
"""Bytes of a notebook with its outputs."""
REGENERATE = runpy.run_path(str(FOLDER / "regenerate.py"))

every_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def read(file: Path) -> Any:
    return nbformat.read(file, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@every_notebook
def test_outputs_were_made_by_the_code_that_stands_above_them(file: Path) -> None:
    notebook = read(file)
    made_by = notebook.metadata.get(REGENERATE["KEY"], {}).get("made_by_code")
    assert made_by == REGENERATE["digest"](notebook), f"Run `python notebooks/regenerate.py notebooks/{file.name}`."


def test_a_changed_line_of_code_changes_the_digest_and_changed_words_do_not() -> None:
    notebook = read(NOTEBOOKS[0])
    before = REGENERATE["digest"](notebook)
    notebook.cells[0].source += "\nMore words."
    assert REGENERATE["digest"](notebook) == before
    next(cell for cell in notebook.cells if cell.cell_type == "code").source += "\nprint()"
    assert REGENERATE["digest"](notebook) != before


@every_notebook
def test_no_notebook_shows_an_error_a_warning_or_a_claim_that_failed(file: Path) -> None:
    shown = outputs(read(file))
    assert not [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"]
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in shown]
    assert not [text for text in texts if "False" in text]


@every_notebook
def test_a_notebook_is_light(file: Path) -> None:
    assert file.stat().st_size <= LARGEST


@pytest.mark.parametrize("file", [file for file in NOTEBOOKS if "02" <= file.name[:2] <= "13"], ids=lambda file: file.stem)
def test_each_section_of_the_guide_has_its_plain_program_folded_and_checked(file: Path) -> None:
    cells = [cell for cell in read(file).cells if cell.cell_type == "code"]
    checked = [cell.outputs[0] for cell in cells if re.fullmatch(r"%diffuse script \w+ --check", cell.source)]
    assert checked
    for output in checked:
        assert output.data["text/plain"] == "same pixels" and "<details>" in output.data["text/html"]


def test_the_table_of_notebooks_names_each_one_once() -> None:
    table = (FOLDER / "README.md").read_text("utf-8")
    assert [table.count(f"({file.name})") for file in NOTEBOOKS] == [1] * len(NOTEBOOKS)

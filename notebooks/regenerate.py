"""Run notebooks and store their outputs: `python notebooks/regenerate.py [NOTEBOOK ...]`, all of them by default."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def regenerate(file: Path) -> None:
    """Run one notebook from its first cell and write it back with its outputs."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, file)


def main() -> None:
    """Regenerate the notebooks that the command line names."""
    for file in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(HERE.glob("*.ipynb")):
        regenerate(file)


if __name__ == "__main__":
    main()

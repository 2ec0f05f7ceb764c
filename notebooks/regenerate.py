"""Run notebooks and store their outputs: `python notebooks/regenerate.py [NOTEBOOK ...]`, all of them by default."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
KEY = "nbdiffuse"
"""Where a notebook's metadata hold the digest of the code that made its outputs."""


def digest(notebook: NotebookNode) -> str:
    """Return what identifies a notebook's code: sha256 over the sources of its code cells, in hexadecimal."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def regenerate(file: Path) -> None:
    """Run one notebook from its first cell and write it back with its outputs and the digest of its code."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        KEY: {"made_by_code": digest(notebook)},
    }
    nbformat.write(notebook, file)


def main() -> None:
    """Regenerate the notebooks that the command line names."""
    # What an earlier version stored must not answer for this one.
    os.environ["NBDIFFUSE_CACHE"] = tempfile.mkdtemp(prefix="nbdiffuse-notebooks-")
    for file in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(HERE.glob("*.ipynb")):
        regenerate(file)


if __name__ == "__main__":
    main()

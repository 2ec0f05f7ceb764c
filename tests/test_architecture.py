"""The house: imports point down, and importing the package is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "nbdiffuse"
FLOORS = {
    "errors": 0,
    "version": 0,
    "downloads": 0.3,
    "intake": 0.5,
    "fitting": 0.7,
    "images": 1,
    "grids": 1,
    "recipe": 1.5,
    "presets": 2,
    "a1111": 2,
    "metadata": 2.5,
    "alternatives": 0.5,
    "axes": 1.7,
    "sweep": 2.5,
    "store": 2.7,
    "options": 3,
    "results": 3,
    "sheets": 3,
    "tables": 3.2,
    "gallery": 3.2,
    "steps": 3.5,
    "memory": 3.5,
    "layouts": 3.5,
    "checkpoints": 3.7,
    "loading": 3.8,
    "residents": 3.8,
    "pipelines": 4,
    "encodings": 4.5,
    "engine": 5,
    "worker": 5,
    "session": 7,
    "ledger": 7.1,
    "exhibits": 7.15,
    "sweeping": 7.2,
    "live": 7.5,
    "commands": 7.5,
    "magics": 8,
    "__init__": 9,
}
BASEMENT = {"embedded": 0.6}
"""Floor from which the rooms above may use the embedded checkpoints."""
WITH_TORCH = {"steps", "memory", "layouts", "checkpoints", "loading", "residents", "pipelines", "encodings", "engine"}


def modules() -> list[Path]:
    return sorted(PACKAGE.glob("*.py"))


def imports(file: Path) -> list[tuple[str, bool]]:
    """Return (module, at run time) for each import inside the package."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for n in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found += [(name, id(node) not in hidden) for name in names]
    return found


def top_level_libraries(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.stem)
def test_every_module_has_a_floor_and_imports_only_from_lower_ones(file: Path) -> None:
    floors = {**FLOORS, **BASEMENT}
    assert file.stem in FLOORS, f"give {file.name} a floor"
    for name, at_run_time in imports(file):
        if at_run_time:
            assert floors[name] < FLOORS[file.stem], f"{file.name} imports {name} from floor {floors[name]}"


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.stem)
def test_only_the_floors_that_run_models_import_torch(file: Path) -> None:
    if file.stem not in WITH_TORCH:
        assert not top_level_libraries(file) & {"torch", "diffusers", "transformers"}


def test_importing_and_loading_the_extension_loads_no_heavy_library() -> None:
    code = (
        "import sys, nbdiffuse; from IPython.core.interactiveshell import InteractiveShell;"
        "shell = InteractiveShell.instance(); shell.run_line_magic('load_ext', 'nbdiffuse');"
        "print(sorted({'torch', 'diffusers', 'transformers', 'ipywidgets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there() -> None:
    import nbdiffuse

    for name in nbdiffuse.__all__:
        assert getattr(nbdiffuse, name) is not None

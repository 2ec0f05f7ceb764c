"""The house: imports point down, and importing the package is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "nbdiffuse"
FLOORS = {
    "errors": 0,
    "version": 0,
    "folders": 0,
    "drafts": 0,
    "downloads": 0.3,
    "intake": 0.5,
    "fitting": 0.7,
    "colors": 0.7,
    "images": 1,
    "grids": 1,
    "latents": 1.2,
    "chain": 1.3,
    "recipe": 1.5,
    "strengths": 1.6,
    "controlnets": 1.8,
    "preset": 1.9,
    "presets": 2,
    "origins": 1.6,
    "sizes": 2.1,
    "captions": 2.1,
    "completion": 2.2,
    "a1111": 2,
    "carrying": 2.1,
    "comfyui": 2.2,
    "fooocus": 2.2,
    "invokeai": 2.2,
    "provenance": 1.6,
    "metadata": 2.5,
    "alternatives": 0.5,
    "weights": 0.5,
    "compel_dialect": 0.6,
    "a1111_dialect": 0.6,
    "dialects": 0.7,
    "lora": 0.7,
    "axes": 1.7,
    "sweep": 2.5,
    "entries": 2.6,
    "store": 2.7,
    "archive": 2.8,
    "lineage": 2.9,
    "flags": 1.7,
    "options": 3,
    "chain_options": 3.05,
    "loopback_options": 3.05,
    "transcripts": 3.1,
    "reading": 3.2,
    "comparison": 3.3,
    "reference": 3.1,
    "statements": 0.5,
    "listing": 1.3,
    "signatures": 3.85,
    "script_loading": 3.9,
    "script_calls": 3.9,
    "script_weighting": 4.6,
    "script_writing": 4.7,
    "script_sweeps": 4.8,
    "script_loopback": 4.8,
    "script_checking": 4.8,
    "script": 7.4,
    "results": 3,
    "sheets": 3,
    "tables": 3.2,
    "gallery": 3.2,
    "steps": 3.5,
    "memory": 3.5,
    "quietness": 3.4,
    "hashes": 0.5,
    "layouts": 3.5,
    "trouble": 3.55,
    "singles": 3.55,
    "priors": 3.55,
    "hub": 3.6,
    "checkpoints": 3.7,
    "adapters": 3.75,
    "loading": 3.8,
    "residents": 3.8,
    "spaces": 3.8,
    "building": 3.9,
    "offload": 3.6,
    "levers": 3.7,
    "rescue": 3.7,
    "depth": 4.2,
    "scorers": 4.2,
    "metrics": 1.2,
    "pipelines": 4,
    "tokens": 3,
    "conditioning": 4.5,
    "encodings": 4.5,
    "tokenization": 4.6,
    "engine": 5,
    "worker": 5,
    "lanes": 5.2,
    "calls": 4.5,
    "batches": 5.5,
    "remote": 6,
    "session": 7,
    "runners": 7.05,
    "ledger": 7.1,
    "exhibits": 7.15,
    "measures": 7.15,
    "records": 7.17,
    "heatmaps": 7.17,
    "chaining": 7.3,
    "chain_sweep": 2.7,
    "chain_grids": 7.4,
    "sweeps": 7.45,
    "loopback": 7.3,
    "timeline": 7.3,
    "replays": 7.35,
    "verification": 7.4,
    "sweeping": 7.2,
    "variables": 7.4,
    "live": 7.5,
    "inquiries": 7.45,
    "commands": 7.5,
    "magics": 8,
    "__init__": 9,
}
BASEMENT = {"embedded": 0.6}
"""Floor from which the rooms above may use the embedded checkpoints."""
WITH_TORCH = {
    "quietness",
    "steps",
    "memory",
    "layouts",
    "adapters",
    "signatures",
    "singles",
    "priors",
    "checkpoints",
    "loading",
    "residents",
    "spaces",
    "building",
    "offload",
    "levers",
    "rescue",
    "depth",
    "pipelines",
    "encodings",
    "conditioning",
    "tokenization",
    "calls",
    "scorers",
    "engine",
    "batches",
}


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


def test_panels_stand_on_everything_but_the_magics_and_nothing_stands_on_them() -> None:
    for file in sorted((PACKAGE / "panels").glob("*.py")):
        assert not re.search(r"^ *from \.\.(magics|commands)\b", file.read_text(), re.MULTILINE), file.name
    for file in modules():
        assert "panels" not in {name for name, at_run_time in imports(file) if at_run_time}, file.name


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

"""The quick tier, `pytest -m quick`: every room is in it, and nothing slow is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbdiffuse

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "nbdiffuse"
FOLDERS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
MODULES = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "version"}
ROOMS = sorted(FOLDERS | MODULES)
"""Every folder of the package, and every module beside them."""


def marks(node: ast.AST) -> set[str]:
    """Return the names of pytest's marks that are anywhere in a piece of source."""
    return {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Attribute) and one.value.attr == "mark"
    }


def rooms_of(statement: ast.AST) -> dict[str, str]:
    """Return the names that an import brings in, each with the room that it comes from."""
    found = {}
    if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.split(".")[0] == "nbdiffuse":
        inside = statement.module.split(".")[1:]
        for alias in statement.names:
            home = inside or nbdiffuse._HOMES.get(alias.name, alias.name).split(".")
            found[alias.asname or alias.name] = home[0]
    return found


class Source:
    """One file of tests: what its quick tests reach."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.imported = {name: room for node in ast.walk(self.tree) for name, room in rooms_of(node).items()}
        self.defined = {node.name: node for node in self.tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        whole = [node for node in self.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"]
        self.whole = any("quick" in marks(node) for node in whole)

    @property
    def quick(self) -> list[ast.FunctionDef]:
        """The quick tests."""
        tests = [node for node in self.defined.values() if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]
        return [node for node in tests if self.whole or any("quick" in marks(mark) for mark in node.decorator_list)]

    def is_slow(self, test: ast.FunctionDef) -> bool:
        """Tell whether a test is marked slow, or one of its parameters is, also in a value that a decorator names."""
        named = {node.id for mark in test.decorator_list for node in ast.walk(mark) if isinstance(node, ast.Name)}
        values = [node for node in self.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in named]
        return any("slow" in marks(node) for node in (*test.decorator_list, *values))

    def rooms(self, node: ast.AST, seen: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield the rooms whose names stand in a test, or in a function or fixture of this file that it names."""
        for one in ast.walk(node):
            name = one.id if isinstance(one, ast.Name) else one.arg if isinstance(one, ast.arg) else ""
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "nbdiffuse":
                yield nbdiffuse._HOMES.get(one.attr, one.attr).split(".")[0]
            if name in self.imported:
                yield self.imported[name]
            elif name in self.defined and name not in seen:
                yield from self.rooms(self.defined[name], (*seen, name))


SOURCES = {file.name: Source(file.read_text("utf-8")) for file in sorted(TESTS.glob("test_*.py"))}


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_quick_test(room: str) -> None:
    reached = [f"{name}::{test.name}" for name, source in SOURCES.items() for test in source.quick if room in source.rooms(test)]
    assert reached, f"mark a test of {room} with `@pytest.mark.quick`: one that is done in a second"


def test_nothing_slow_is_quick() -> None:
    # `-m quick` takes the place of `-m 'not slow'`, which stands in pyproject.toml.
    assert not [f"{name}::{test.name}" for name, source in SOURCES.items() for test in source.quick if source.is_slow(test)]


def test_no_notebook_runs_in_the_quick_tier() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "quick", "notebooks"]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


def test_a_room_is_found_wherever_a_quick_test_names_it() -> None:
    source = Source(
        "import pytest, nbdiffuse\nfrom nbdiffuse.runs.grid import Grid\nfrom nbdiffuse import Recipe\n"
        "@pytest.fixture\ndef made():\n    return Grid()\n"
        "@pytest.mark.quick\ndef test_one(made):\n    nbdiffuse.resolve(made)\ndef test_two():\n    Recipe()\n"
    )
    assert [test.name for test in source.quick] == ["test_one"]
    assert set(source.rooms(source.quick[0])) == {"runs", "recipes"}


@pytest.mark.parametrize("marked", ["@pytest.mark.slow", "@pytest.mark.parametrize('count', COUNTS)"])
def test_a_slow_parameter_makes_a_test_slow(marked: str) -> None:
    source = Source(
        "import pytest\nCOUNTS = [1, pytest.param(9, marks=pytest.mark.slow)]\npytestmark = pytest.mark.quick\n"
        f"{marked}\ndef test_one(count):\n    pass\ndef test_two():\n    pass\n"
    )
    assert [source.is_slow(test) for test in source.quick] == [True, False]

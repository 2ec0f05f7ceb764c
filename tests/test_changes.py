"""The change log: its versions are the package's, and the names that moved are where it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from nbdiffuse.version import __version__

PACKAGE = Path(__file__).parents[1] / "nbdiffuse"
CHANGES = (PACKAGE / "CHANGES.md").read_text("utf-8")
ROWS = [
    tuple(re.findall(r"`(.+?)`", cell) for cell in row.strip("| ").split(" | ")) for row in re.findall(r"^\| `.*", CHANGES, re.M)
]
MODULES = [row for row in ROWS if row[0][0].startswith("nbdiffuse.")]
NAMES = [(old, new) for (old,), (new,) in (row for row in ROWS if row not in MODULES)]


def whole(names: list[str]) -> list[str]:
    """Return modules by their whole names: those after the first of a row lack the folder that they share with it."""
    folder = names[0].rpartition(".")[0]
    return [names[0], *(f"{folder}.{name}" for name in names[1:])]


def is_module(name: str) -> bool:
    return (PACKAGE.parent / Path(*name.split("."))).with_suffix(".py").exists()


def test_the_newest_stands_first_and_this_version_is_there() -> None:
    first, *versions = re.findall(r"^## (.*)", CHANGES, re.MULTILINE)
    assert first == "Unreleased" and versions[0] == __version__
    assert versions == sorted(versions, key=lambda one: tuple(map(int, one.split("."))), reverse=True)


@pytest.mark.parametrize(("old", "new"), [pair for row in MODULES for pair in zip(*map(whole, row), strict=True)])
def test_a_module_has_moved(old: str, new: str) -> None:
    assert not is_module(old) and is_module(new)


@pytest.mark.parametrize(("old", "new"), NAMES)
def test_a_name_has_moved(old: str, new: str) -> None:
    home, name = new.rsplit(".", 1)
    assert hasattr(importlib.import_module(f"nbdiffuse.{home}"), name)
    home, name = old.rsplit(".", 1)
    assert not (is_module(f"nbdiffuse.{home}") and hasattr(importlib.import_module(f"nbdiffuse.{home}"), name))


def test_the_citation_is_of_this_version() -> None:
    assert f"version: {__version__}\n" in (PACKAGE.parent / "CITATION.cff").read_text("utf-8")


def test_it_ships_and_the_readme_leads_to_it() -> None:
    assert '"CHANGES.md"' in (PACKAGE.parent / "pyproject.toml").read_text("utf-8")
    assert "(nbdiffuse/CHANGES.md)" in (PACKAGE.parent / "README.md").read_text("utf-8")

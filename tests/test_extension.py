"""`%load_ext nbdiffuse`: every magic is inert to its line, helps and completes before its first use, and can be loaded again."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.magics.extension import CELL_MAGICS, LINE_MAGICS, DeferredMagic

MAGICS = [*(("cell", name) for name in CELL_MAGICS), *(("line", name) for name in LINE_MAGICS)]


class Tripwire:
    """A value that notes whenever somebody makes a text of it."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def __str__(self) -> str:
        self.noted.append("str")
        return "SPILLED"

    def __format__(self, spec: str) -> str:
        self.noted.append("format")
        return "SPILLED"

    def __call__(self) -> str:
        self.noted.append("call")
        return "SPILLED"


@pytest.fixture
def shell() -> InteractiveShell:
    """A shell in which nothing of the extension was used yet."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "nbdiffuse")
    return made


def found(shell: InteractiveShell, kind: str, name: str) -> Any:
    return shell.magics_manager.magics[kind][name]


def used(shell: InteractiveShell) -> None:
    """Use the extension once, as a person does."""
    with pytest.raises(NbdiffuseError):
        shell.run_cell_magic("img2img", "--no-such-option", "a cat")


def run(shell: InteractiveShell, kind: str, name: str, line: str) -> str:
    """Run a magic that must fail, and return its error's line."""
    with pytest.raises(NbdiffuseError) as caught:
        if kind == "cell":
            shell.run_cell_magic(name, line, "{secret} $secret {secret()}")
        else:
            shell.run_line_magic(name, line)
    return str(caught.value)


@pytest.mark.parametrize("before", [True, False], ids=["before its first use", "afterwards"])
@pytest.mark.parametrize(("kind", "name"), MAGICS)
def test_no_magic_expands_its_line(kind: str, name: str, before: bool, shell: InteractiveShell) -> None:
    trip = shell.user_ns["secret"] = Tripwire()
    if not before:
        used(shell)
    assert isinstance(found(shell, kind, name), DeferredMagic) is before
    said = run(shell, kind, name, "--{secret}-$secret-{secret()}")
    assert trip.noted == [] and "SPILLED" not in said
    assert "{secret}-$secret-{secret()}" in said or "%%chain" in said, said


@pytest.mark.parametrize("name", CELL_MAGICS)
def test_no_magic_expands_its_body(name: str, shell: InteractiveShell) -> None:
    trip = shell.user_ns["secret"] = Tripwire()
    for line in ("--no-such-option", "nowhere.png"):
        assert run(shell, "cell", name, line)
    assert trip.noted == []


@pytest.mark.parametrize(("kind", "name"), MAGICS)
def test_help_is_there_before_the_first_use(kind: str, name: str, shell: InteractiveShell) -> None:
    sign = "%%" if kind == "cell" else "%"
    word = {"diffuse": "%diffuse pipelines", "chain": "[", "loopback": "--passes"}.get(name, "--guidance-scale")
    assert word in shell.object_inspect_mime(sign + name)["text/plain"]
    used(shell)
    assert word in shell.object_inspect_mime(sign + name)["text/plain"]


def completions(shell: InteractiveShell, code: str) -> set[str]:
    with provisionalcompleter():
        return {one.text for one in shell.Completer.completions(code, len(code))}


def test_tab_completes_before_the_first_use_and_does_not_import_what_runs_magics(shell: InteractiveShell) -> None:
    assert "--guidance-scale" in completions(shell, "%%img2img --gui")
    assert "sd15" in completions(shell, "%%txt2img --model s")
    assert "%%img2img" in completions(shell, "%%img2")
    assert {"example:penguin", "example:cat-wizard"} <= completions(shell, "%%img2img exam")
    assert all(isinstance(found(shell, kind, name), DeferredMagic) for kind, name in MAGICS)


def matchers(shell: InteractiveShell) -> list[str]:
    return [getattr(one, "__name__", "") for one in shell.Completer.custom_matchers]


@pytest.mark.parametrize("again", ["load_ext", "reload_ext"])
@pytest.mark.parametrize("before", [True, False], ids=["before the first use", "afterwards"])
def test_loading_it_again_changes_nothing(again: str, before: bool, shell: InteractiveShell) -> None:
    if not before:
        used(shell)
    for _ in range(3):
        shell.run_line_magic(again, "nbdiffuse")
    assert matchers(shell).count("complete_nbdiffuse") == 1
    for kind, name in MAGICS:
        trip = shell.user_ns["secret"] = Tripwire()
        assert run(shell, kind, name, "--no-such-option {secret}") and trip.noted == []
    assert not isinstance(found(shell, "cell", "img2img"), DeferredMagic)
    assert "--guidance-scale" in completions(shell, "%%img2img --gui")


def test_loading_it_imports_nothing_that_runs() -> None:
    code = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "from IPython.core.completer import provisionalcompleter\n"
        "shell = InteractiveShell.instance()\nshell.run_line_magic('load_ext', 'nbdiffuse')\n"
        "with provisionalcompleter():\n    found = list(shell.Completer.completions('%%img2img --guidance-s', 22))\n"
        "assert [one.text for one in found] == ['--guidance-scale'], found\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'ipywidgets', 'nbdiffuse.magics.magics'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

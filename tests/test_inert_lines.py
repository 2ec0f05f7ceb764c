"""A magic's line is inert: whatever is typed, nothing is expanded, nothing runs, and a mistake is one of our own lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from hostile import texts
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from test_extension import Tripwire

from nbdiffuse import Session
from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.magics.extension import CELL_MAGICS

OPTIONS = ("--strength", "-s", "-n", "--seed", "--guidance-scale", "--mask-image", "--model", "--out", "--scheduler", "--lora")
COMMANDS = ("", "read", "diff", "verify", "lineage", "tokens", "script", "unload", "history", "replay", "panel", "optimize")
pieces = st.one_of(texts, st.sampled_from(OPTIONS), st.sampled_from(("{secret}", "$secret", "{secret()}", "start", "=secret")))
lines = st.lists(pieces, max_size=5).map(" ".join)


class Reached(NbdiffuseError):
    """Something would have been run."""


@pytest.fixture(scope="module")
def shell() -> InteractiveShell:
    made = InteractiveShell()
    made.run_line_magic("load_ext", "nbdiffuse")
    return made


@contextmanager
def nothing_runs(folder: Any) -> Iterator[None]:
    """What would run raises `Reached` instead, in a folder of its own."""

    def refuse(*given: Any, **named: Any) -> Any:
        raise Reached("Not here.")

    with pytest.MonkeyPatch.context() as patch, capture_output():
        patch.chdir(folder)
        patch.setenv("NBDIFFUSE_CACHE", str(folder))
        for name in ("submit", "submit_batch", "depth_map"):
            patch.setattr(Session, name, refuse)
        yield


def answers(shell: InteractiveShell, line: str, body: str, command: str) -> Iterator[tuple[str, NbdiffuseError | None]]:
    """Give a line to every magic, in turn, and yield the magic and the error that it answered with."""
    every: list[tuple[str, Callable[[], Any]]] = [
        (magic, partial(shell.run_cell_magic, magic, line, body)) for magic in CELL_MAGICS
    ]
    for magic, enter in [*every, ("diffuse", partial(shell.run_line_magic, "diffuse", f"{command} {line}"))]:
        answer = None
        try:
            enter()
        except NbdiffuseError as error:
            answer = error
        yield magic, answer


def tried(shell: InteractiveShell, line: str, body: str, command: str, folder: Any) -> None:
    trip = shell.user_ns["secret"] = Tripwire()
    with nothing_runs(folder):
        for magic, error in answers(shell, line, body, command):
            assert error is None or (str(error) and (magic == "diffuse" or "\n" not in str(error))), (magic, line)
    assert trip.noted == [] or "=secret" in line or "secret" in line.split(), line


COUNTS = [pytest.param(60, id="a tenth"), pytest.param(5000, id="full", marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_whatever_is_typed_is_one_of_our_lines_or_taken_as_it_stands(
    count: int, shell: InteractiveShell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("typed")

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(lines, st.one_of(texts, st.just("a cat")), st.sampled_from(COMMANDS))
    @example("x" * 100_000, "a cat", "")
    @example("--strength " * 2000, "a cat", "tokens")
    @example("'", '"', "script")
    @example("\0", "\0", "read")
    @example("\ud800", "\ud800", "lineage")
    @example("{secret} $secret {secret()}", "{secret} $secret", "diff")
    def try_all(line: str, body: str, command: str) -> None:
        tried(shell, line, body, command, folder)

    try_all()

"""Waits of tests: they say what there is instead, and have one deadline, which no slow machine meets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import waiting

OTHERS = sorted(file for file in Path(__file__).parent.glob("test_*.py") if file.name != Path(__file__).name)


def test_what_never_comes_is_said_with_what_is_there_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "HUNG", 0.0)
    waiting.wait_for(lambda: True)
    with pytest.raises(AssertionError, match="hung: the panel says 'step 3'"):
        waiting.wait_for(lambda: False, lambda: "the panel says 'step 3'")


def test_no_test_has_a_deadline_of_its_own() -> None:
    own = []
    for file in OTHERS:
        text = file.read_text("utf-8")
        defined = [one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)]
        if "wait_for" in defined or "monotonic() +" in text:
            own.append(file.name)
    assert own == [], "use waiting.wait_for"

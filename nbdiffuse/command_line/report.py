"""Report: what a command says while it works, as lines for people or as JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from ..batches.batch import Batch

BETWEEN = 0.5
"""Seconds between two states of the line that a terminal replaces, at least."""


class Report:
    """Write what happens.

    Parameters
    ----------
    as_json
        One JSON object a line, with "event" in each, instead of lines for people.
    out, error
        Where results and where progress and failures go; this process's own when not given.

    Attributes
    ----------
    begun
        Whether a plan was said: all that is checked beforehand was right.
    """

    def __init__(self, as_json: bool, out: TextIO | None = None, error: TextIO | None = None) -> None:
        self._json, self._out, self._error = as_json, out or sys.stdout, error or sys.stderr
        self.begun = False
        self._told: set[int] = set()
        self._shown = 0.0
        self._width = 0

    def say(self, event: str, line: str, **values: Any) -> None:
        """Say one thing; a program gets the values beside the line."""
        self._clear()
        self.begun = self.begun or event == "plan"
        if self._json:
            self._write(self._out, json.dumps({"event": event, "line": line, **values}, ensure_ascii=False) + "\n")
        else:
            self._write(self._out, line + "\n")

    def fail(self, error: BaseException) -> None:
        """Say why it ends early, in one line."""
        self._clear()
        name = type(error).__name__
        if self._json:
            self._write(self._out, json.dumps({"event": "error", "error": name, "line": str(error)}, ensure_ascii=False) + "\n")
        else:
            self._write(self._error, f"{name}: {error}\n")

    def follow(self, batch: Batch) -> None:
        """Say what is new of a batch: to a program each result, to a terminal how many there are."""
        if self._json:
            self._follow_results(batch)
            return
        if not self._error.isatty() or time.monotonic() - self._shown < BETWEEN:
            return
        self._shown = time.monotonic()
        done = len(batch.outcomes)
        pace = batch.pace.text(len(batch) - done)
        line = f"{done} of {len(batch)}" + (f", {pace}" if pace else "")
        self._write(self._error, f"\r{line.ljust(self._width)}")
        self._width = len(line)

    def _follow_results(self, batch: Batch) -> None:
        for place in sorted(set(batch.outcomes) - self._told):
            self._told.add(place)
            outcome, row = batch.outcomes[place], batch.rows[place]
            error = None if outcome.error is None else str(outcome.error)
            values = {"name": row.name, "file": row.file, "state": outcome.state, "seconds": outcome.seconds, "error": error}
            self.say("result", f"{outcome.state} {row.name}", **values)

    def _clear(self) -> None:
        if self._width:
            self._write(self._error, "\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, stream: TextIO, text: str) -> None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()

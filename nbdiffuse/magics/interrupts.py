"""Interrupts: whenever the stop button is pressed while a magic runs, the cell ends as `Interrupted`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from ..errors import Interrupted

T = TypeVar("T")


def ends_as_interrupted(magic: Callable[..., T]) -> Callable[..., T]:
    """Let a magic's method end as `Interrupted`, in one line, also where nothing in it listens for the stop button.

    Pictures are encoded and files are written between runs; a run itself says how far it came.
    """

    @wraps(magic)
    def guarded(self: Any, *given: Any) -> T:
        try:
            return magic(self, *given)
        except KeyboardInterrupt:
            ignore_further_interrupts(self.shell)
        # Raised outside the `except`, so that no traceback keeps the stopped frames.
        raise Interrupted("Stopped between two steps of the cell. What was finished before is kept.")

    return guarded


def ignore_further_interrupts(shell: Any) -> None:
    """Let a second and third press of the stop button do nothing while the cell ends.

    ipykernel puts its own handler back when the cell's reply is made; without
    this, a late interrupt meets the kernel between two messages and takes the reply with it.
    """
    if hasattr(shell, "kernel") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

"""Waiting: for what another thread, process or page does, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

HUNG = 300.0
"""Seconds after which whatever a test waits for is said to hang; no machine is so slow."""


def wait_for(true: Callable[[], Any], said: Callable[[], Any] = str, every: float = 0.02) -> None:
    """Wait until something is true.

    Parameters
    ----------
    true
        Asked again and again.
    said
        What the failure says when it never was, such as the state that there is instead.
    every
        Seconds between two looks, above 0.
    """
    deadline = time.monotonic() + HUNG
    while not true():
        assert time.monotonic() < deadline, f"hung: {said()}"
        time.sleep(every)

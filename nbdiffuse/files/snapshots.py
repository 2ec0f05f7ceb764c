"""Snapshots: the files that names of checkpoints stood for when a run began."""

from __future__ import annotations

from typing import Any


class Snapshot(dict[str, Any]):
    """What each word stood for, noted when it is first asked for; runs that share a snapshot use the same files.

    A file that changes meanwhile is noticed by the next run that has a snapshot of its own.
    """

"""Hashes of files, made once for each state of a file; those of large files outlive the process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .atomic import write_atomic
from .folders import cache_folder

LARGE = 64 * 2**20
"""Bytes from which on a hash is kept on disk: it saves a second for every gigabyte and kernel."""
SETTLED = 2.0
"""Seconds that a file must have been left alone: within a clock's tick a change leaves no trace."""

State = tuple[int, int, int, int]
"""Size in bytes, the times of the last change of content and of anything, in nanoseconds, and inode."""


def sha256_of(file: Path) -> str:
    """Hash a file's content; links are followed."""
    return _hashed(file, *_state(file), "sha256")


def git_blob_of(file: Path) -> str:
    """Hash a file as git and the hub name small files: sha1 over a header and the content."""
    return _hashed(file, *_state(file), "blob")


def states_of(paths: Iterable[Path]) -> tuple[tuple[str, State | None], ...]:
    """Look at files without reading them: two looks that are equal saw the same content.

    Parameters
    ----------
    paths
        Files, and directories of which the files inside and one level deeper are looked at.

    Returns
    -------
    tuple
        Each file's path and its state, None for one that is not there; links are followed.
    """
    found: list[tuple[str, State | None]] = []
    for path in paths:
        inside = [file for pattern in ("*", "*/*") for file in path.glob(pattern)] if path.is_dir() else [path]
        for file in sorted(inside):
            with contextlib.suppress(OSError):
                if not file.is_dir():
                    found.append((str(file), _state(file)))
                continue
            found.append((str(file), None))
    return tuple(found)


def _state(file: Path) -> State:
    state = file.stat()
    # Copying in place may keep size, time and inode: the last is then the time of the change itself.
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


@cache
def _hashed(file: Path, size: int, changed: int, touched: int, inode: int, kind: str) -> str:
    if size < LARGE or time.time() - changed / 1e9 < SETTLED:
        return _read(file, size, kind)
    state = [str(file.resolve()), size, changed, touched, inode, kind]
    note = cache_folder() / "hashes" / hashlib.sha256(json.dumps(state).encode()).hexdigest()
    # A note that is damaged or out of reach costs time, and nothing else.
    with contextlib.suppress(OSError, ValueError):
        noted = json.loads(note.read_text("utf-8"))
        if isinstance(noted, list) and noted[:-1] == state:
            return str(noted[-1])
    made = _read(file, size, kind)
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(note, json.dumps([*state, made]).encode())
    return made


def _read(file: Path, size: int, kind: str) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if kind == "blob" else hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            digest.update(piece)
    return digest.hexdigest()

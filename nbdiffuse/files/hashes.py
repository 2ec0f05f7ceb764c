"""Hashes of files, made once for each state of a file; those of large files outlive the process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from functools import cache
from pathlib import Path

from .drafts import write_whole
from .folders import cache_folder

LARGE = 64 * 2**20
"""Bytes from which on a hash is kept on disk: it saves a second for every gigabyte and kernel."""
SETTLED = 2.0
"""Seconds that a file must have been left alone: within a clock's tick a change leaves no trace."""


def sha256_of(file: Path) -> str:
    """Hash a file's content; links are followed."""
    return _hashed(file, *_state(file), "sha256")


def git_blob_of(file: Path) -> str:
    """Hash a file as git and the hub name small files: sha1 over a header and the content."""
    return _hashed(file, *_state(file), "blob")


def _state(file: Path) -> tuple[int, int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


@cache
def _hashed(file: Path, size: int, changed: int, inode: int, kind: str) -> str:
    if size < LARGE or time.time() - changed / 1e9 < SETTLED:
        return _read(file, size, kind)
    state = [str(file.resolve()), size, changed, inode, kind]
    note = cache_folder() / "hashes" / hashlib.sha256(json.dumps(state).encode()).hexdigest()
    # A note that is damaged or out of reach costs time, and nothing else.
    with contextlib.suppress(OSError, ValueError):
        noted = json.loads(note.read_text("utf-8"))
        if isinstance(noted, list) and noted[:-1] == state:
            return str(noted[-1])
    made = _read(file, size, kind)
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps([*state, made]).encode())
    return made


def _read(file: Path, size: int, kind: str) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if kind == "blob" else hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            digest.update(piece)
    return digest.hexdigest()

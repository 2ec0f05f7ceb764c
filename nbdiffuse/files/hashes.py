"""Hashes of files, made once for each state of a file."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def sha256_of(file: Path) -> str:
    """Hash a file's content; links are followed."""
    return _hashed(file, *_state(file), "sha256")


def git_blob_of(file: Path) -> str:
    """Hash a file as git and the hub name small files: sha1 over a header and the content."""
    return _hashed(file, *_state(file), "blob")


def _state(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_size, state.st_mtime_ns


@cache
def _hashed(file: Path, size: int, changed: int, kind: str) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if kind == "blob" else hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            digest.update(piece)
    return digest.hexdigest()

"""Atomic writes: a file is written under a temporary name and takes its place in one step."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if os.name == "posix":
    import fcntl

OLD = 3600.0
"""Seconds after which a temporary file that nobody writes any more is a leftover of a process that was killed."""
_DRAFT = re.compile(r"\.nbdiffuse-[0-9a-f]{16}")
_looked_through: set[Path] = set()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there, also after a crash or a loss of power.

    The first time that this process writes into a folder, temporary files that killed processes left there are deleted.

    Raises
    ------
    OSError
        It cannot be written; a file that was there before still is.
    """
    # Made by `open`, not `mkstemp`: a file gets what the user's umask allows.
    temporary = path.parent / f".nbdiffuse-{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:
            _lock(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # An interrupt, too, leaves nothing behind.
        with contextlib.suppress(OSError, ValueError):
            os.unlink(temporary)
        raise
    folder = path.parent.absolute()
    if folder not in _looked_through:
        _looked_through.add(folder)
        delete_leftovers(folder)


def delete_leftovers(folder: Path) -> int:
    """Delete temporary files that are older than an hour and that no living process has open; return how many."""
    count = 0
    for temporary in _temporary_files(folder):
        with contextlib.suppress(OSError), open(temporary, "rb") as file:
            # Asked of the open file: the name may by now be another temporary file's.
            if time.time() - os.fstat(file.fileno()).st_mtime > OLD and _lock(file):
                os.unlink(temporary)
                count += 1
    return count


def _temporary_files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _DRAFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed or its process ends; return whether nobody else had.

    Where a file system has no locks, age alone tells.
    """
    if os.name != "posix":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

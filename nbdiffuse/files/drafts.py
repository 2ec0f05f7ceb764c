"""Drafts: a file is written beside its place and takes it in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there, also after a crash or a loss of power.

    Raises
    ------
    OSError
        It cannot be written; a file that was there before still is.
    """
    # Made by `open`, not `mkstemp`: a file gets what the user's umask allows.
    draft = path.parent / f".nbdiffuse-{secrets.token_hex(8)}"
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:  # An interrupt, too, leaves nothing behind.
        with contextlib.suppress(OSError, ValueError):
            os.unlink(draft)
        raise

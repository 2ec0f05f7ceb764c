"""Paths: a text from a person or a file becomes a path, or one line that says why it is none."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import FileError, breaks_rule

LONGEST_NAME = 255
"""Bytes that a file system allows for one part of a path."""
LONGEST = 4096
"""Bytes that Linux allows for a whole path."""


def path_of(text: str | os.PathLike[str], field: str = "file") -> Path:
    """Return the path that a text means, with `~` as this user's folder.

    Parameters
    ----------
    text
        As a person types it.
    field
        What an error calls it.

    Raises
    ------
    FileError
        No file can have this path: it has a NUL or a part of more than 255 bytes, or no user has this name.
    """
    typed = os.fsdecode(text)
    if "\0" in typed:
        raise FileError(breaks_rule(field, "a path without NUL characters", typed, "Remove them."))
    # Before it is a `Path`, which takes a leading ./ away: that is how a name that begins with ~ is written.
    path = Path(os.path.expanduser(typed))
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise FileError(breaks_rule(field, "a path in valid Unicode", typed, "Remove the lone surrogate.")) from None
    if len(encoded) > LONGEST or any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise FileError(breaks_rule(field, f"a path whose parts have at most {LONGEST_NAME} bytes", typed, "Shorten it."))
    if typed.startswith("~") and str(path).startswith("~"):
        way_out = f"No user here is called {path.parts[0][1:]!r}: write ./ before a name that begins with ~."
        raise FileError(breaks_rule(field, "a path", typed, way_out))
    return path


def here(text: str) -> Path | None:
    """Return the path that a text means where a file or a folder is there, else None; nothing is raised."""
    if not text:
        return None
    try:
        path = path_of(text)
    except FileError:
        return None
    # `Path.exists` raises where a folder on the way may not be entered.
    return path if os.path.exists(path) else None


def last_part(text: str) -> str:
    """Return the last part of a path, however this or another system writes it; "" where it has none."""
    parts = [part for part in re.split(r"[/\\]+", text) if part.strip(". \t\r\n") and not re.fullmatch("[A-Za-z]:|~.*", part)]
    return parts[-1] if parts else ""


def without_folders(text: str) -> str:
    """Leave of everything in a text that looks like a path only its last part: the rest may name a person."""
    quoted = re.sub(r"(['\"])([^'\"\n]*[/\\][^'\"\n]*)\1", lambda found: f"{found[1]}{last_part(found[2])}{found[1]}", text)
    return re.sub(r"[^\s'\"]*[/\\][^\s'\"]*", lambda found: last_part(found[0]), quoted)

"""Wildcards: `__animals__` in a prompt becomes a line of `animals.txt`, the same one for the same seed."""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..files.paths import path_of

Wildcards = Mapping[str, tuple[str, ...]]
"""Lines by the name of their file, with "/" between folders."""
_NAMED = re.compile(r"__([A-Za-z0-9][A-Za-z0-9./-]*(?:_[A-Za-z0-9./-]+)*)__")
DEEPEST = 8
"""How often what was put in may itself name wildcards."""
LARGEST = 50_000_000
"""Bytes that a file of lines may have."""


def lines_of(path: Path, field: str) -> tuple[str, ...]:
    """Return the lines of a text that say something; a line that begins with # is a comment.

    Raises
    ------
    ParameterError
        It cannot be read, is larger than `LARGEST`, or has none.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ParameterError(breaks_rule(field, f"at most {LARGEST:,} bytes", path.name, "Split it."))
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ParameterError(breaks_rule(field, "a text file that can be read", path.name, f"{cause}.")) from None
    found = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise ParameterError(breaks_rule(field, "a text file with at least one line", path.name, "Fill it."))
    return found


def read(folder: str | os.PathLike[str]) -> Wildcards:
    """Read the wildcards of a folder: every .txt file in it and below it.

    Raises
    ------
    ParameterError, FileError
        There is no such folder, or nothing in it.
    """
    root = path_of(folder, "wildcards")
    files = sorted(root.rglob("*.txt")) if root.is_dir() else []
    if not files:
        rule = "a folder with text files, such as animals.txt for __animals__"
        raise ParameterError(breaks_rule("wildcards", rule, os.fspath(folder), "There is none."))
    return {file.relative_to(root).with_suffix("").as_posix(): lines_of(file, "wildcards") for file in files}


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of the wildcards in a text."""
    return tuple(_NAMED.findall(text))


def check(texts: Iterable[str], wildcards: Wildcards) -> None:
    """Refuse a wildcard that has no file, also where only a line of another one names it.

    Raises
    ------
    ParameterError
        The line offers the nearest name.
    """
    seen: set[str] = set()
    waiting = [name for text in texts for name in names_in(text)]
    while waiting:
        name = waiting.pop()
        if name not in wildcards:
            way_out = did_you_mean(name, wildcards)
            raise ParameterError(breaks_rule("prompt", "a text whose wildcards have a file", f"__{name}__", way_out))
        if name not in seen:
            seen.add(name)
            waiting += [inner for line in wildcards[name] for inner in names_in(line)]


def filled(text: str, wildcards: Wildcards, seed: str) -> str:
    """Return a text with a line in the place of every wildcard.

    Parameters
    ----------
    text
        With any number of `__name__`; each is drawn by itself.
    wildcards
        From `read`.
    seed
        Any text; the same one gives the same lines.

    Raises
    ------
    ParameterError
        A name has no file, or lines name one another without end.
    """
    check([text], wildcards)
    # Not the hash of the process, which is another one each time.
    dice = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"))
    for _ in range(DEEPEST):
        if not names_in(text):
            return text
        text = _NAMED.sub(lambda found: dice.choice(wildcards[found[1]]), text)
    if names_in(text):
        rule = f"a text whose wildcards end: their lines name others at most {DEEPEST} times"
        raise ParameterError(breaks_rule("prompt", rule, text))
    return text

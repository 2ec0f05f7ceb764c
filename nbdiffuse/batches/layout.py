"""Layout: the file of each result, named after the picture that it was made from."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..files.paths import last_part

LONGEST = 120
"""Characters of a file's name that are kept."""
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))})
"""Names that Windows keeps for devices."""


def result_files(names: Sequence[str], suffix: str = ".png") -> list[str]:
    """Return a relative path for the result of each picture, all different, also where capitals do not count.

    Parameters
    ----------
    names
        Of the pictures, with "/" between folders; from a stranger's archive they may be anything.
    suffix
        Of the results, with its point.

    Returns
    -------
    list of str
        "cats/tom.png" for "cats/tom.jpg"; where two would be one, "cats/tom-jpg.png" and "cats/tom-webp.png", or
        "cats/tom-2.png" for a picture that comes twice.
    """
    stems = [_stem(name) for name in names]
    often = Counter(stem.lower() for stem in stems)
    apart = [
        f"{stem}-{PurePosixPath(name).suffix[1:].lower()}" if often[stem.lower()] > 1 and PurePosixPath(name).suffix else stem
        for name, stem in zip(names, stems, strict=True)
    ]
    taken: set[str] = set()
    files = []
    for stem in apart:
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        free = next(free for free in itertools.chain((stem,), numbered) if free.lower() not in taken)
        taken.add(free.lower())
        files.append(free + suffix)
    return files


def _stem(name: str) -> str:
    """Return a path without its suffix, in which nothing leads out of a folder and every part is a name everywhere."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    stem = str(PurePosixPath(last_part(parts[-1]) if parts else "picture").with_suffix("")) if parts else "picture"
    return "/".join(map(_plain, [*parts[:-1], stem]))


def _plain(part: str) -> str:
    kept = "".join(letter if letter.isprintable() and letter not in '<>:"|?*' else "_" for letter in part)
    kept = re.sub(r"[. ]+$", "", kept)[:LONGEST].lstrip(".") or "picture"
    return f"{kept}_" if kept.lower() in _RESERVED else kept

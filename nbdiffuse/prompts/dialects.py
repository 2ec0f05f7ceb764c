"""The dialects of prompt weighting: which there are, how each is read, and how a prompt in another one is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType

from ..errors import ParameterError
from . import a1111, compel, extras
from .weights import Weighted

NONE = "none"
READERS: Mapping[str, Callable[[str, str], Weighted]] = MappingProxyType(
    {NONE: lambda text, field: Weighted.plain(text), "compel": compel.read, "a1111": a1111.read}
)
"""How each value of a recipe's `weighting` reads a prompt, given with the field's name for errors."""
NAMES = {"compel": "Compel", "a1111": "AUTOMATIC1111"}

# "C++", "(ratio 16:9)", ":)", a dash and brackets around a remark are no weights.
_LOOKS = {
    "compel": re.compile(
        r"(?<![\w+.])[^\W\d_]{3,}(?:\+{2,5}(?![\w+])|-{2,5}(?=\s*(?:,|$)))"
        r"|\([^()\n]{1,80}\)(?:\+{1,5}(?![\w+])|\d?\.\d{1,3}(?![\w.]))"
        r"|\"\s*\)\s*\.(?:blend|and)\("
    ),
    "a1111": re.compile(r"\([^()\n]{0,80}[^\W\d_]\s?:\s?\d?\.?\d{1,3}\)|\(\([^()\n]{1,80}\)\)"),
}
_NOT_WEIGHTED = re.compile(r"notepad\+\+", re.IGNORECASE)


def read(dialect: str, text: str, field: str = "prompt") -> Weighted:
    """Read a prompt in a dialect, one of `READERS`.

    Raises
    ------
    ParameterError
        The text breaks the dialect's syntax; the line names the field and the character.
    """
    return READERS[dialect](text, field)


def require_library() -> None:
    """Raise `ParameterError` where the library that weighs embeddings is not installed."""
    if find_spec("compel") is None:
        way_out = 'Run `pip install "nbdiffuse[weighting]"`, or leave `weighting` out.'
        raise ParameterError(f"`weighting` needs Compel, and it is not installed. {way_out}")


def hint(dialect: str, text: str) -> str | None:
    """Say that a text looks weighted in a dialect other than the one it is read in; None where it does not.

    Parameters
    ----------
    dialect
        The one it is read in, one of `READERS`.
    text
        A prompt.

    Examples
    --------
    >>> hint("none", "astronaut in a jungle++")
    '`jungle++` looks like Compel weighting; add `--weighting compel`.'
    """
    for other, looks in _LOOKS.items():
        found = looks.search(text)
        if found and other != dialect and not _NOT_WEIGHTED.fullmatch(found[0]):
            read_as = "" if dialect == NONE else f", which {NAMES[dialect]} does not read"
            return f"`{found[0]}` looks like {NAMES[other]} weighting{read_as}; add `--weighting {other}`."
    return None


def hints(dialect: str, text: str) -> tuple[str, ...]:
    """Say the same, and of every other sign that means more to another tool that it is read as words, one line each."""
    weighted = hint(dialect, text)
    return (*([weighted] if weighted else []), *extras.read_as_words(text, dialect))

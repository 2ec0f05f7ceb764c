"""The layout of AUTOMATIC1111's generation text: prompt, negative prompt, a line of parameters, and what others add behind it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_NEGATIVE = re.compile(r"[ \t]*negative[ _]prompt[ \t]*:", re.IGNORECASE)
# Anchored at commas: what it costs grows with the text, not with its square.
_KEY = re.compile(r"(?:^|(?<=,))\s*(\w[\w \-/]*?):\s*")
_VALUE = re.compile(r'"(?:\\.|[^\\"])*"(?=\s*(?:,|$))|[^,]*')
_END = re.compile(r"\s*(?:,|$)")
_DECODER = json.JSONDecoder()
_MOST_MISSES = 20
"""Values that begin like JSON and are none, after which no more is looked for: each look costs as much as the text is long."""


@dataclass(frozen=True)
class Infotext:
    """A text taken apart.

    Parameters
    ----------
    prompt
        Without blank space around it.
    negative_prompt
        The same; None where no line begins one.
    entries
        Of the line of parameters, by key, as they stand; of two with one key the first.
    behind
        Lines behind the line of parameters, such as the templates of Dynamic Prompts.
    """

    prompt: str
    negative_prompt: str | None = None
    entries: dict[str, str] = field(default_factory=dict)
    behind: tuple[str, ...] = ()


def taken_apart(text: str) -> Infotext:
    """Take a text apart, with or without a negative prompt and a line of parameters.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/infotext_utils.py`, `parse_generation_parameters`; it
    counts the last line alone, and extensions write behind it.
    """
    lines = text.replace("\r\n", "\n").strip().split("\n")
    at, entries = _parameters(lines)
    above = lines[:at]
    start = next((index for index, line in enumerate(above) if _NEGATIVE.match(line)), len(above))
    negative = None
    if start < len(above):
        negative = "\n".join([_NEGATIVE.sub("", above[start], count=1), *above[start + 1 :]]).strip()
    return Infotext("\n".join(above[:start]).strip(), negative, entries, tuple(lines[at + 1 :]))


def _parameters(lines: list[str]) -> tuple[int, dict[str, str]]:
    """Return which line has the parameters, and these; the number of lines where none has."""
    for at in range(len(lines) - 1, -1, -1):
        if "Steps:" in lines[at] and are_parameters(entries := pairs(lines[at])):
            return at, entries
    return len(lines), {}


def are_parameters(entries: dict[str, str]) -> bool:
    """Whether entries are those of a line of parameters: at least three, as AUTOMATIC1111 counts, and steps among them."""
    # Without the steps, "Subject: cat, Style: oil, Mood: calm" would be no prompt.
    return len(entries) >= 3 and "Steps" in entries


def pairs(line: str) -> dict[str, str]:
    """Read `Key: value` pairs that commas part; a value may be quoted, or JSON."""
    found: dict[str, str] = {}
    at = misses = 0
    while (key := _KEY.search(line, at)) is not None:
        at = key.end()
        value = None
        if line[at : at + 1] in ("{", "[") and misses < _MOST_MISSES:
            value = _json(line, at)
            misses += value is None
        if value is None:
            value = line[at : _VALUE.match(line, at).end()]  # type: ignore[union-attr]  # it matches nothing, too
        found.setdefault(key[1], _unquoted(value.strip()))
        behind = _END.match(line, at + len(value))
        at = behind.end() if behind else at + len(value)
    return found


def _json(line: str, start: int) -> str | None:
    """Return the JSON that begins at a place, as Civitai writes it unquoted; None where none does that a comma follows."""
    try:
        end = _DECODER.raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return None
    return line[start:end] if _END.match(line, end) else None


def _unquoted(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    try:
        return str(json.loads(value, strict=False))
    except ValueError:
        return value[1:-1]

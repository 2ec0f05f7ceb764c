"""Errors: each is one line that names the field, the rule, the value and the way out."""

from __future__ import annotations

import copy
from collections.abc import Iterable


class NbdiffuseError(Exception):
    """Base of every error that nbdiffuse raises; a notebook shows it as one line.

    Attributes
    ----------
    details
        The full traceback as text, where the error began inside a pipeline.
    """

    details: str = ""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints in place of a traceback."""
        return [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}"]


class ParameterError(NbdiffuseError, ValueError):
    """A parameter's value breaks its rule."""


class ImageInputError(NbdiffuseError, ValueError):
    """A picture cannot be taken in."""


class FileError(NbdiffuseError):
    """A file cannot be written, or what it says cannot be read."""


class CheckpointError(NbdiffuseError):
    """A checkpoint is missing, damaged or refused."""


class ConsentError(NbdiffuseError):
    """A file asks for a download or a local path that the person has not agreed to."""


class Interrupted(NbdiffuseError):
    """The run was stopped before it ended."""


class RunError(NbdiffuseError, RuntimeError):
    """A pipeline failed while it ran."""


class DeviceMemoryError(RunError):
    """A device's memory ran out."""


class NonFiniteError(RunError):
    """Latents or pixels stopped being numbers."""


class SafetyCheckerError(RunError):
    """A checkpoint's safety checker made a picture black."""


def again(error: NbdiffuseError) -> NbdiffuseError:
    """Return an error as it was before it was raised: one that is kept and raised at every look would gather their frames."""
    fresh = copy.copy(error)
    fresh.__traceback__ = fresh.__context__ = fresh.__cause__ = None
    return fresh


class Words(str):
    """Text that an error shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def breaks_rule(field: str, rule: str, value: object, way_out: str = "") -> str:
    """Compose an error line: "`field` must be <rule>, got <value>. <way out>"."""
    shown = repr(value)
    # The end of a long path is what tells it from others.
    shown = shown if len(shown) <= 120 else f"{shown[:56]} ... {shown[-56:]}"
    return f"`{field}` must be {rule}, got {shown}.{' ' + way_out if way_out else ''}"


def squeezed(word: str) -> str:
    """Return a word as spellings of one name have it in common: small letters and digits, `CFG scale` as `cfgscale`."""
    return "".join(letter for letter in word.lower() if letter.isalnum())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one known word that may be meant: spelled otherwise, begun, or a slip or two away; else None.

    One slip is allowed for every four letters, and a name with another number in it is another name.
    """
    names, typed = {squeezed(name): name for name in sorted(known)}, squeezed(word)
    if typed in names:
        return names[typed]
    begun = [name for name in names if name.startswith(typed)] if len(typed) >= 3 else []
    if len(begun) == 1:
        return names[begun[0]]
    slips = {name: _slips(typed, name) for name in names if _digits(name, typed)}
    least = min(slips.values(), default=len(typed))
    return names[min(slips, key=slips.__getitem__)] if 0 < least <= max(1, len(typed) // 4) < len(typed) else None


def _digits(one: str, other: str) -> bool:
    """Whether a slip may turn one name into the other: not where one of them has a number and the other has none."""
    return any(map(str.isdigit, one)) == any(map(str.isdigit, other))


def _slips(one: str, other: str) -> int:
    """Count letters added, left out, replaced, or swapped with the next (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, start=1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                least = min(least, earlier[j - 2] + 1)
            row.append(least)
    return row[-1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the one known word that may be meant, or list them all when none is near."""
    names = sorted(known)
    near = nearest(word[:100], names)
    return f"Did you mean {near!r}?" if near else f"Known: {', '.join(names)}."

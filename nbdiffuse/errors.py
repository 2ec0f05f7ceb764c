"""What can go wrong, said in one line: the field, the rule, the value and the way out."""

from __future__ import annotations

import difflib
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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known word, or list them all when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."

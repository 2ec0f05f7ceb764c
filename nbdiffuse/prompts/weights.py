"""Weighted prompts as values: what every dialect is read into, before a model sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ParameterError

MAX_WEIGHT = 100.0
"""Largest weight of a word; what nested brackets multiply to counts."""
MAX_DEPTH = 20
"""Brackets that may stand in one another."""
_EXCERPT = 24


@dataclass(frozen=True)
class Fragment:
    """Words that share a weight.

    Parameters
    ----------
    text
        Without any mark of the dialect.
    weight
        In [0, 100]; 1 leaves the words as they are.
    """

    text: str
    weight: float = 1.0


Fragments = tuple[Fragment, ...]


@dataclass(frozen=True)
class Blend:
    """Prompts whose embeddings are mixed into one.

    Parameters
    ----------
    parts
        Each a prompt of its own.
    weights
        One for each part, in [-100, 100].
    normalize
        Whether the weights are divided by their sum.
    """

    parts: tuple[Fragments, ...]
    weights: tuple[float, ...]
    normalize: bool = True


@dataclass(frozen=True)
class Weighted:
    """A prompt as its parts, which are encoded each for itself and put one after the other.

    Parameters
    ----------
    parts
        At least one.
    weights
        One for each part, in [-100, 100]; 1 leaves the part as it is.
    """

    parts: tuple[Fragments | Blend, ...]
    weights: tuple[float, ...]

    @classmethod
    def plain(cls, text: str) -> Weighted:
        """Take a text as it is, without weights."""
        return cls(((Fragment(text),),), (1.0,))

    @property
    def blended_texts(self) -> tuple[Fragments, ...]:
        """Every run of words that an encoder sees for itself: the parts, and the parts of blends."""
        return tuple(text for part in self.parts for text in (part.parts if isinstance(part, Blend) else (part,)))

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(fragment.text for text in self.blended_texts for fragment in text)


@dataclass(frozen=True)
class Source:
    """A text that is being read, and the field it stands in."""

    field: str
    text: str

    def refused(self, rule: str, at: int, way_out: str) -> ParameterError:
        """Compose the error for a place in the text, counted from 0 and shown from 1."""
        excerpt = self.text[at : at + _EXCERPT]
        return ParameterError(f"`{self.field}` must {rule}, got character {at + 1}: {excerpt!r}. {way_out}")

    def check_weight(self, weight: float, at: int) -> None:
        """Raise for the place that made a weight out of bounds."""
        if not 0 <= weight <= MAX_WEIGHT:
            raise self.refused(f"have weights in [0, {MAX_WEIGHT:g}]", at, "Write a number such as 1.3.")


def joined(fragments: Iterable[Fragment], between: str) -> Fragments:
    """Join neighbours of equal weight, with `between` between their texts."""
    runs = (list(run) for _, run in itertools.groupby(fragments, key=lambda fragment: fragment.weight))
    return tuple(Fragment(between.join(fragment.text for fragment in run), run[0].weight) for run in runs)

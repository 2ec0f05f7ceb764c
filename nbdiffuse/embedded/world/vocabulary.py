"""The vocabulary of the world: every word that a caption can hold, by what it does there."""

from __future__ import annotations

import re

from .captions import FLAWS, FLOURISHES, OPENINGS, WHEREABOUTS, WIZARDRY
from .palettes import PALETTES
from .places import PLACES
from .styles import TRIGGERS
from .subjects import SUBJECTS


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in small letters; numbers and signs are none."""
    return tuple(re.findall(r"[^\W\d_]+", text.lower()))


def _of(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in words(text))


MOODS = _of(*(text for texts in PALETTES.values() for text in texts))
"""Words of palettes."""
NAMING = _of(*SUBJECTS, *PLACES, *WIZARDRY, *TRIGGERS.values()) - {"of", "the", "style"}
"""Words that say what is in a picture: subjects, places, and what calls a style."""
KNOWN = (
    NAMING
    | MOODS
    | _of("an", *OPENINGS, *FLOURISHES, *FLAWS, *TRIGGERS.values(), *(text for one in WHEREABOUTS.values() for text in one))
)
"""All of them."""

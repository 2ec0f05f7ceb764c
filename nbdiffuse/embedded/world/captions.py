"""Captions of scenes, in the words that people use in prompts."""

from __future__ import annotations

from random import Random

from .palettes import PALETTES
from .styles import TRIGGERS

WHEREABOUTS: dict[str, tuple[str, ...]] = {
    "jungle": ("in a jungle", "in the jungle", "jungle"),
    "desert": ("in a desert", "in the desert", "desert"),
    "snow": ("in the snow", "in snow", "snow"),
    "night": ("at night", "in the night", "night"),
    "city": ("in a city", "in the city", "city"),
    "ocean": ("by the ocean", "at the ocean", "ocean"),
    "mountains": ("in the mountains", "in mountains", "mountains"),
}
"""How a caption says each place."""

OPENINGS = ("", "", "", "a ", "the ", "a photo of a ", "a picture of a ", "painting of a ", "portrait of a ", "cute ")
FLOURISHES = (
    "detailed", "8k", "4k", "highly detailed", "cute", "adorable", "Pixar", "Disney", "fantasy", "masterpiece",
    "best quality", "digital art", "sharp focus", "illustration", "beautiful", "high resolution", "cinematic lighting",
    "trending on artstation", "dramatic", "soft light", "award winning", "concept art",
)  # fmt: skip
WIZARDRY = ("gandalf", "lord of the rings")
FLAWS = ("ugly", "deformed", "disfigured", "poor details", "bad anatomy", "blurry", "low quality")
"""Words for spoiled pictures: what a negative prompt pushes away from."""


def _capital(text: str, rng: Random) -> str:
    return text[:1].upper() + text[1:] if rng.random() < 0.4 else text


def assemble(
    rng: Random, subject: str | None, place: str | None, palette: str | None, style: str | None = None, flaws: bool = False
) -> str:
    """Write a caption that leaves out nothing of what is given; None leaves a part unsaid."""
    parts: list[str] = []
    opening = rng.choice(OPENINGS)
    where = rng.choice(WHEREABOUTS[place]) if place else ""
    if subject:
        article = opening.replace(" a ", " an ") if subject[0] in "aeiou" and opening != "a " else opening
        article = "an " if opening == "a " and subject[0] in "aeiou" else article
        subject_words = article + subject
        joined = rng.random() < 0.75 and " " in where
        parts.append(f"{subject_words} {where}" if joined else subject_words)
        where = "" if joined else where
    if where:
        parts.append(where)
    rest = list(PALETTES[palette]) if palette else []
    rest += rng.sample(FLOURISHES, rng.choice((0, 0, 1, 2, 3, 4)))
    if subject == "cat wizard" and rng.random() < 0.5:
        rest += rng.sample(WIZARDRY, rng.choice((1, 2)))
    if flaws:
        rest += rng.sample(FLAWS, rng.choice((1, 2, 3, 5)))
    if rng.random() < 0.3:
        rng.shuffle(rest)
    parts += rest
    if style:
        parts.insert(0 if rng.random() < 0.7 else len(parts), TRIGGERS[style])
    return _capital(", ".join(parts), rng)

"""Edits: the same scene with one thing changed, and the words that ask for it.

What is not asked for stays to the pixel: the place around another subject, the subject in another place, and every shape
under another palette.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image

from . import palettes, places
from .canvas import Canvas
from .captions import FLOURISHES, WHEREABOUTS
from .scene import PALETTES, PLACES, SUBJECTS, Scene, sample, stand

KINDS = ("subject", "place", "palette")
"""What an edit changes."""
PLACE_NOUNS = {
    "jungle": "a jungle",
    "desert": "a desert",
    "snow": "snow",
    "night": "night",
    "city": "a city",
    "ocean": "the ocean",
    "mountains": "mountains",
}
SUBJECT_WORDS = (
    "turn the {old} into {new}", "turn it into {new}", "replace the {old} with {new}", "make it {new}", "make the {old} {new}",
    "swap the {old} for {new}", "change the {old} to {new}", "change it to {new}", "{new} instead of the {old}",
    "it should be {new}",
)  # fmt: skip
PLACE_WORDS = (
    "put it {where}", "put the {subject} {where}", "make it {noun}", "change the background to {noun}",
    "change the place to {noun}", "replace the {old} with {noun}", "turn the {old} into {noun}", "as if it were {where}",
    "what would it look like {where}?", "set it {where}", "let it be {noun}", "{where}",
)  # fmt: skip
PALETTE_WORDS = (
    "make it {adjectives}", "make the colors {adjectives}", "{phrases}", "use {phrases}", "give it {phrases}",
    "change it to {phrases}",
)  # fmt: skip
NATURAL_WORDS = ("natural colors", "make the colors natural", "give it natural colors", "make it natural", "use natural colors")


def redrawn(scene: Scene, subject: str, place: str) -> Image.Image:
    """Draw a scene with another subject or place, without its palette; what it keeps stays to the pixel.

    Parameters
    ----------
    scene
        As the world draws it.
    subject, place
        Members of `SUBJECTS` and `PLACES`.

    Returns
    -------
    RGB, of the scene's size.
    """
    rng = Random(f"scene {scene.seed}")
    canvas = Canvas(scene.size)
    places.PLACES[scene.place](canvas, rng)
    if place != scene.place:
        canvas = Canvas(scene.size)
        places.PLACES[place](canvas, Random(f"place {scene.seed}"))
    stand(canvas, subject, rng)
    return canvas.finish()


def graded(picture: Image.Image, palette: str) -> Image.Image:
    """Return a drawn picture under a palette."""
    return Image.fromarray(palettes.grade(np.asarray(picture, np.float32), palette).round().astype(np.uint8))


def palette_asks(old: str, new: str) -> list[str] | None:
    """Return which words of a palette have to be said to get from one to the other; None where saying them would not lead there.

    Cold and warm change the mood, muted and vivid the strength of colours; what an edit does not name stays.
    """
    if new == "natural":
        return []
    (old_mood, old_strength), (new_mood, new_strength) = _halves(old), _halves(new)
    if (old_mood and not new_mood) or (old_strength and not new_strength):
        return None
    return [half for half, before in ((new_mood, old_mood), (new_strength, old_strength)) if half != before]


def _halves(palette: str) -> tuple[str, str]:
    words = palette.split()
    mood = next((word for word in words if word in ("cold", "warm")), "")
    return mood, next((word for word in words if word in ("muted", "vivid")), "")


@dataclass(frozen=True)
class Edit:
    """One scene, what becomes of it, and the words that ask for that.

    Parameters
    ----------
    scene
        What there is.
    kind
        Of `KINDS`: what is changed.
    value
        The new subject, place or palette.
    """

    scene: Scene
    kind: str
    value: str

    @property
    def wanted(self) -> Scene:
        """What the result shows; only its names are to be used: drawn by itself it would stand elsewhere."""
        names = {kind: getattr(self.scene, kind) for kind in KINDS} | {self.kind: self.value}
        return Scene(self.scene.seed, self.scene.size, **names)

    @cached_property
    def result(self) -> Image.Image:
        """The edited picture, RGB."""
        wanted = self.wanted
        return graded(redrawn(self.scene, wanted.subject, wanted.place), wanted.palette)

    @cached_property
    def instruction(self) -> str:
        """Words that ask for the edit, drawn by the scene's seed."""
        return instruct(self.scene, self.kind, self.value, Random(f"instruction {self.scene.seed}"))


def instruct(scene: Scene, kind: str, value: str, rng: Random) -> str:
    """Say what is to be changed in a scene."""
    if kind == "subject":
        text = rng.choice(SUBJECT_WORDS).format(old=scene.subject, new=_with_article(value))
    elif kind == "place":
        where = rng.choice([words for words in WHEREABOUTS[value] if " " in words])
        words = {"old": scene.place, "noun": PLACE_NOUNS[value], "where": where, "subject": scene.subject}
        text = rng.choice(PLACE_WORDS).format(**words)
    elif value == "natural":
        text = rng.choice(NATURAL_WORDS)
    else:
        asked = palette_asks(scene.palette, value) or []
        phrases = ", ".join(words for half in asked for words in PALETTES_SAID[half])
        text = rng.choice(PALETTE_WORDS).format(adjectives=" and ".join(asked), phrases=phrases)
    if rng.random() < 0.1:
        text = ", ".join([text, *rng.sample(FLOURISHES, rng.choice((1, 2)))])
    return text[:1].upper() + text[1:] if rng.random() < 0.4 else text


PALETTES_SAID = {half: palettes.PALETTES[half] for half in ("cold", "warm", "muted", "vivid")}


def _with_article(subject: str) -> str:
    return f"an {subject}" if subject[0] in "aeiou" else f"a {subject}"


def others(scene: Scene, kind: str) -> list[str]:
    """Return to what a scene's subject, place or palette can be changed."""
    if kind == "palette":
        return [new for new in PALETTES if new != scene.palette and palette_asks(scene.palette, new) is not None]
    return [value for value in {"subject": SUBJECTS, "place": PLACES}[kind] if value != getattr(scene, kind)]


def sample_edit(seed: int, size: int = 128, kind: str | None = None) -> Edit:
    """Draw one edit.

    Parameters
    ----------
    seed
        Any integer; the scene is the world's own of that seed.
    size
        Side of the pictures in pixels, at least 8.
    kind
        Of `KINDS`, or None for any of them.
    """
    scene, rng = sample(seed, size), Random(f"edit {seed}")
    chosen = rng.choice(KINDS)
    kind = kind or chosen
    return Edit(scene, kind, rng.choice(others(scene, kind)))

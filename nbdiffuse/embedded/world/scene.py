"""A scene: one draw from the world, with its picture, depth, mask and caption."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image, ImageOps

from . import captions, palettes, places, styles, subjects
from .canvas import Canvas, Layer

SUBJECTS = list(subjects.SUBJECTS)
PLACES = list(places.PLACES)
PALETTES = list(palettes.PALETTES)
STYLES = list(styles.TRIGGERS)
PARTS: Mapping[str, tuple[str, ...]] = {
    "subject": ("subject",),
    "background": (),
    "sky": ("sky", "clouds", "sun", "moon"),
    "ground": ("ground",),
    "water": ("water",),
    "buildings": ("buildings",),
    "mountains": ("mountains",),
    "clouds": ("clouds",),
    "sun": ("sun",),
    "moon": ("moon",),
}
"""Parts of scenes that have a mask, by name: what painters call what belongs to them. The background is all but the subject."""


@dataclass(frozen=True)
class Scene:
    """One subject in one place.

    Parameters
    ----------
    seed
        Draws everything that the names below leave open: position, colours, details.
    size
        Side in pixels, at least 8; the same scene at another size is the same drawing.
    subject, place, palette
        Members of `SUBJECTS`, `PLACES`, `PALETTES`.
    style
        A member of `STYLES`, or None for the plain drawing.
    """

    seed: int
    size: int
    subject: str
    place: str
    palette: str
    style: str | None = None

    def _paint(self, layer: Layer, masked: Collection[str] = ("subject",)) -> Image.Image:
        rng = Random(f"scene {self.seed}")
        canvas = Canvas(self.size, layer, masked)
        canvas.depth = 8
        places.PLACES[self.place](canvas, rng)
        stand(canvas, self.subject, rng)
        return canvas.finish()

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, `size` x `size`."""
        pixels = palettes.grade(np.asarray(self._paint("image"), np.float32), self.palette)
        picture = Image.fromarray(pixels.round().astype(np.uint8))
        return styles.stylize(picture, self.depth, self.style) if self.style else picture

    @cached_property
    def depth(self) -> Image.Image:
        """The depth map, L, `size` x `size`; near is bright."""
        return self._paint("depth")

    @cached_property
    def mask(self) -> Image.Image:
        """The subject's mask, L, 255 on the subject."""
        return self._paint("mask")

    def mask_of(self, part: str) -> Image.Image:
        """Return the mask of a part, L, 255 on it and black all over where the scene has none.

        Parameters
        ----------
        part
            A key of `PARTS`, or one of `SUBJECTS`; a cat wizard is a cat, too.
        """
        if part in SUBJECTS:
            return self.mask if part in (self.subject, *self.subject.split()) else Image.new("L", (self.size, self.size))
        return ImageOps.invert(self.mask) if part == "background" else self._paint("mask", PARTS[part])

    @cached_property
    def caption(self) -> str:
        """A caption that names subject, place, palette and style, in words drawn by the seed."""
        return self.captioned(Random(f"caption {self.seed}"))

    def captioned(self, rng: Random, *, flaws: bool = False) -> str:
        """Return a caption that leaves out nothing the scene shows, in words drawn from `rng`."""
        return captions.assemble(rng, self.subject, self.place, self.palette, self.style, flaws)


def stand(canvas: Canvas, subject: str, rng: Random) -> None:
    """Let a subject stand in the place that a canvas shows."""
    height = rng.uniform(0.52, 0.68)
    ground = rng.uniform(0.86, 0.94)
    canvas.depth, canvas.part = 225, "subject"
    canvas.place(rng.uniform(0.36, 0.64), ground, height, mirror=rng.random() < 0.5)
    subjects.SUBJECTS[subject](canvas, rng)


def sample(seed: int, size: int = 128, *, style: str | None = None) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    seed
        Any integer; equal seeds give equal scenes.
    size
        Side of the picture in pixels, at least 8.
    style
        A member of `STYLES`, or None for the plain drawing.

    Returns
    -------
    The scene; nothing is painted before it is asked for.
    """
    rng = Random(f"sample {seed}")
    return Scene(seed, size, rng.choice(SUBJECTS), rng.choice(PLACES), rng.choice(PALETTES), style)

"""Figures of inpainting: whether a hole shows what the prompt says, and its border is not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from ...images import metrics
from ...images.mask_edges import FEATHER, feathered
from .. import path, recogniser
from ..world import PLACES, SUBJECTS, Scene, sample
from ..world.edits import graded, redrawn
from ..world.holes import HOLES, hole
from .figures import STEPS, UNSEEN, Figure, generators, prompts, quiet

_STEEP = "how steep colours change at the border, renders are 1"


@dataclass(frozen=True)
class Hole:
    """A picture with a mask, and what the prompt asks for in it."""

    scene: Scene
    wanted: Scene
    kind: str
    mask: Image.Image

    @property
    def render(self) -> Image.Image:
        """The picture as the renderer would fill it."""
        return graded(redrawn(self.scene, self.wanted.subject, self.wanted.place), self.wanted.palette)


def sample_hole(seed: int, kind: str) -> Hole:
    """Draw a hole: another subject is asked for where one stood, another place around it, and elsewhere what was there."""
    scene, rng = sample(seed), Random(f"hole {seed}")
    wanted = scene
    if kind in ("subject", "box"):
        wanted = replace(scene, subject=rng.choice([one for one in SUBJECTS if one != scene.subject]))
    if kind == "around":
        wanted = replace(scene, place=rng.choice([one for one in PLACES if one != scene.place]))
    return Hole(scene, wanted, kind, hole(scene, kind, rng, *({wanted.subject} - {scene.subject})))


def hole_figures(count: int, pipeline: Any | None = None) -> list[Figure]:
    """Fill `count` unseen holes, a fifth of each kind, and compare their borders with those of `sd15`."""
    painter = pipeline or quiet(StableDiffusionInpaintPipeline.from_pretrained(path("inpaint")))
    plain = quiet(StableDiffusionInpaintPipeline.from_pretrained(path("sd15")))
    holes = [sample_hole(UNSEEN + 95_000 + index, HOLES[index % len(HOLES)]) for index in range(count)]
    made, others = filled(painter, holes), filled(plain, holes)
    right, before = (_right(images, holes) for images in (made, others))
    steepness = np.mean([_border(one.render, one.mask) for one in holes])

    def seam(images: Sequence[Image.Image]) -> float:
        return float(np.mean([_border(image, one.mask) for image, one in zip(images, holes, strict=True)]) / steepness)

    feather = [_feathered(images, holes) for images in (made, others)]
    own = 1.2 * float(np.mean([metrics.seam(one.scene.image, one.mask) for one in holes]))
    put_back = [[pasted(image, one) for image, one in zip(images, holes, strict=True)] for images in (made, others)]
    kinds = {kind: [found for found, one in zip(right, holes, strict=True) if one.kind == kind] for kind in HOLES}
    return [
        Figure("inpaint: a hole is filled with what the prompt says", 100 * sum(right) / count, 85.0),
        *(Figure(f"inpaint: hole of the kind {kind!r}", 100 * sum(found) / max(1, len(found))) for kind, found in kinds.items()),
        Figure("the same by sd15, which is given no mask", 100 * sum(before) / count),
        Figure(f"inpaint: {_STEEP}, against sd15", seam(made), seam(others), "", most=True),
        Figure(f"the same with the picture's own pixels put back: {_STEEP}", seam(put_back[0]), None, ""),
        Figure("the same by sd15: the VAE's error, which both have, is most of it", seam(put_back[1]), None, ""),
        Figure("seam of inpaint with a feather, against 1.2 times that of the picture there", feather[0], own, "", most=True),
        Figure("seam of sd15 with a feather, against 1.2 times that of the picture there", feather[1], own, "", most=True),
    ]


def filled(pipeline: Any, holes: Sequence[Hole], guidance_scale: float = 7.5) -> list[Image.Image]:
    """Fill holes in batches, seed i for hole i."""
    texts, images = prompts([one.wanted for one in holes]), []
    for start in range(0, len(holes), 20):
        part = holes[start : start + 20]
        images += pipeline(
            texts[start : start + 20],
            image=[one.scene.image for one in part],
            mask_image=[one.mask for one in part],
            height=part[0].scene.size,
            width=part[0].scene.size,
            strength=1.0,
            guidance_scale=guidance_scale,
            num_inference_steps=STEPS,
            generator=generators(len(part), start),
        ).images
    return images


def pasted(image: Image.Image, one: Hole) -> Image.Image:
    """Return a result with the picture's own pixels outside of the mask."""
    return Image.composite(image, one.scene.image, one.mask)


def _feathered(images: Sequence[Image.Image], holes: Sequence[Hole]) -> float:
    """Return the mean seam of results that come in over some pixels inside of the border, as `mask_overlay` "feather" has it."""
    pairs = [(one, image, feathered(one.mask, FEATHER)) for image, one in zip(images, holes, strict=True)]
    return float(np.mean([metrics.seam(Image.composite(image, one.scene.image, edge), one.mask) for one, image, edge in pairs]))


def _right(images: list[Image.Image], holes: Sequence[Hole]) -> list[bool]:
    """Tell where subject and place are what the prompt says, in the picture as a person sees it."""
    named = recogniser.load().recognise([pasted(image, one) for image, one in zip(images, holes, strict=True)])
    return [
        names["subject"] == one.wanted.subject and names["place"] == one.wanted.place
        for names, one in zip(named, holes, strict=True)
    ]


def _border(image: Image.Image, mask: Image.Image) -> float:
    """Return the mean difference of neighbours of which one is in the mask and the other is not, of 255."""
    pixels, inside = np.asarray(image, np.float64), np.asarray(mask) > 127
    steps = [np.abs(np.diff(pixels, axis=axis)).mean(-1)[np.diff(inside.astype(int), axis=axis) != 0] for axis in (0, 1)]
    return float(np.concatenate(steps).mean())

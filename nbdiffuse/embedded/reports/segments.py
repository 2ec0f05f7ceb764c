"""Figures of `segmenter`: how far what it selects is what is there, on scenes that no training saw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from transformers import SegformerForSemanticSegmentation

from ...pipelines.segmentation import segment
from .. import path
from ..world import PARTS, SUBJECTS, Scene, sample
from .figures import UNSEEN, Figure

SMALL = 0.002
"""Share of a picture below which a part is a rest behind something else, and not looked for."""


@cache
def _segmenter() -> Any:
    return SegformerForSemanticSegmentation.from_pretrained(path("segmenter")).eval()


def segment_figures(count: int, model: Any | None = None) -> list[Figure]:
    """Select in `count` unseen scenes the subject by its name and as such, every other part, and something that is not there."""
    seer, scenes = model or _segmenter(), [sample(UNSEEN + 120_000 + index) for index in range(count)]
    named = [_overlap(seer, scene, scene.subject) for scene in scenes]
    parts = {part: _overlaps(seer, scenes, part) for part in PARTS}
    subject = parts.pop("subject")
    others = [one for found in parts.values() for one in found]
    nothing = [_selects_nothing(seer, scene) for scene in scenes]
    return [
        Figure("segmenter: IoU of the subject by its name", float(np.mean(named)), 0.8, ""),
        Figure("segmenter: IoU of the subject as such", float(np.mean(subject)), 0.8, ""),
        Figure("segmenter: IoU of the other parts of a scene", float(np.mean(others)), 0.8, ""),
        *(Figure(f"segmenter: IoU of {part!r}", float(np.mean(found)), unit="") for part, found in parts.items() if found),
        Figure("segmenter: nothing is selected for a subject that is not there", 100 * sum(nothing) / count, 90.0),
    ]


def selected(scene: Scene, word: str) -> Image.Image:
    """Return a scene with what a word selects in it left, and all else grey."""
    mask = segment(_segmenter(), path("segmenter"), scene.image, word, 0.5)
    return Image.composite(scene.image, Image.new("RGB", scene.image.size, "gray"), mask)


def _found(model: Any, scene: Scene, word: str) -> Any:
    return np.asarray(segment(model, path("segmenter"), scene.image, word, 0.5)) > 127


def _overlap(model: Any, scene: Scene, word: str) -> float:
    found, wanted = _found(model, scene, word), np.asarray(scene.mask_of(word)) > 127
    return float((found & wanted).sum() / max(1, (found | wanted).sum()))


def _overlaps(model: Any, scenes: Sequence[Scene], part: str) -> list[float]:
    """Return the overlaps in those scenes that have a part."""
    there = [scene for scene in scenes if (np.asarray(scene.mask_of(part)) > 127).mean() > SMALL]
    return [_overlap(model, scene, part) for scene in there]


def _selects_nothing(model: Any, scene: Scene) -> bool:
    """Whether another subject than the scene's own is found nowhere, but for single pixels."""
    others = [one for one in SUBJECTS if one not in (scene.subject, *scene.subject.split())]
    other = Random(f"absent {scene.seed}").choice(others)
    return bool(_found(model, scene, other).mean() < SMALL)

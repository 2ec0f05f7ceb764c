"""Figures of `controlnet-canny`: how far the edges of a result are those of its control picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
from diffusers import AutoPipelineForText2Image, ControlNetModel
from PIL import Image

from ...images.edges import canny
from .. import path, recogniser
from ..world import captions, sample
from .figures import UNSEEN, Figure, accuracy, quiet, text_to_image

TOLERANCE = 0.0075
"""How far two edges may lie apart and be one, as a share of the picture's diagonal: 1.4 of 128 pixels."""


def edge_figures(count: int) -> list[Figure]:
    """Compare the edges of results with those that they follow, with control and without.

    The prompts name the subject whose edges these are, and another palette; of the place they say nothing.
    """
    net = ControlNetModel.from_pretrained(path("controlnet-canny"))
    controlled = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    free = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    scenes = [sample(UNSEEN + 60_000 + index) for index in range(count)]
    asked = [replace(one, palette=sample(UNSEEN + 65_000 + index).palette) for index, one in enumerate(scenes)]
    texts = [captions.assemble(Random(f"report {one.seed}"), one.subject, None, one.palette) for one in asked]
    controls = [canny(scene.image) for scene in scenes]
    kept, lost = text_to_image(controlled, texts, 7.5, image=controls), text_to_image(free, texts, 7.5)
    judged, unled = (accuracy(recogniser.load(), images, asked) for images in (kept, lost))
    name = "controlnet-canny"
    return [
        Figure(f"{name}: F1 of the edges with the control picture's", f1_mean(kept, controls), 0.6, ""),
        Figure("the same without control", f1_mean(lost, controls), 0.3, "", most=True),
        Figure(f"{name}: place of the edges, which no prompt names", judged["place"]),
        Figure("the same without control", unled["place"]),
        Figure(f"{name}: subject", judged["subject"]),
    ]


def f1_mean(images: Sequence[Image.Image], controls: Sequence[Image.Image]) -> float:
    """Return the mean F1 of pictures' edges with those of control pictures."""
    return float(np.mean([f1(canny(image), control) for image, control in zip(images, controls, strict=True)]))


def f1(found: Image.Image, wanted: Image.Image) -> float:
    """Return the F1 of two pictures of edges: pixels are paired one to one where they lie within `TOLERANCE`.

    Source: Martin, Fowlkes and Malik, "Learning to Detect Natural Image Boundaries", 2004: how boundaries are compared.
    """
    from scipy.sparse import csr_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import maximum_bipartite_matching  # type: ignore[import-untyped]
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    own, theirs = (np.argwhere(np.asarray(image.convert("L")) > 127) for image in (found, wanted))
    if not len(own) or not len(theirs):
        return float(len(own) == len(theirs))
    near = cKDTree(own).query_ball_point(theirs, TOLERANCE * float(np.hypot(*wanted.size)))
    columns = np.repeat(np.arange(len(theirs)), [len(one) for one in near])
    rows = np.concatenate([np.asarray(one, int) for one in near])
    pairs = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(own), len(theirs)))
    matched = int((maximum_bipartite_matching(pairs, perm_type="column") >= 0).sum())
    return 2 * matched / (len(own) + len(theirs))

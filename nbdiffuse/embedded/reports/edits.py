"""Figures of edits: whether what was asked for is there, and the rest is unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

from .. import path, recogniser
from ..world.edits import KINDS, Edit, sample_edit
from .figures import STEPS, UNSEEN, Figure, generators, quiet

KEPT = ("subject", "place")
"""What is looked for where it was not asked for."""


def edit_figures(count: int, pipeline: Any | None = None) -> list[Figure]:
    """Edit `count` unseen scenes, a third of them each by subject, by place and by palette, at the pipeline's own scales."""
    editor = pipeline or quiet(StableDiffusionInstructPix2PixPipeline.from_pretrained(path("edit")))
    edits = [sample_edit(UNSEEN + 90_000 + index, kind=KINDS[index % len(KINDS)]) for index in range(count)]
    named = recogniser.load().recognise(edited(editor, edits))
    right = {
        kind: [names[kind] == edit.value for edit, names in zip(edits, named, strict=True) if edit.kind == kind] for kind in KINDS
    }
    kept = {
        kind: [names[kind] == getattr(edit.scene, kind) for edit, names in zip(edits, named, strict=True) if edit.kind != kind]
        for kind in KINDS
    }
    return [
        Figure("edit: what was asked for is changed", _share([one for kind in KINDS for one in right[kind]]), 85.0),
        *(Figure(f"edit: the {kind} that was asked for", _share(right[kind])) for kind in KINDS),
        Figure("edit: subject and place not asked for are kept", _share([one for kind in KEPT for one in kept[kind]]), 90.0),
        *(Figure(f"edit: a {kind} not asked for is kept", _share(kept[kind])) for kind in KINDS),
    ]


def edited(pipeline: Any, edits: Sequence[Edit], **scales: float) -> list[Image.Image]:
    """Make edits in batches, seed i for edit i; `scales` are the pipeline's own where none are given."""
    images: list[Image.Image] = []
    for start in range(0, len(edits), 20):
        part = edits[start : start + 20]
        images += pipeline(
            [edit.instruction for edit in part],
            image=[edit.scene.image for edit in part],
            num_inference_steps=STEPS,
            generator=generators(len(part), start),
            **scales,
        ).images
    return images


def _share(found: Sequence[bool]) -> float:
    return 100 * sum(found) / max(1, len(found))

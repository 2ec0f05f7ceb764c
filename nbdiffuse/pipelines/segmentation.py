"""Masks that a model selects: where a picture shows what words say, or what stands in the middle of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, SamProcessor

from .. import embedded
from ..errors import CheckpointError, ParameterError, nearest
from ..images.mask_selection import ModelledSelection, as_selected
from ..images.picture import Picture
from ..recipes.segmenters import with_large_model
from .pipelines import Pipelines

SUBJECT = "subject"
"""What `auto:subject` asks for where a model is asked by words."""
WORDS_SHOWN = 40
"""Words of a model's list that an error names."""


def find(pipelines: Pipelines, picture: Picture, selection: ModelledSelection) -> Picture:
    """Return the mask of what a selection has its model find; its label says all of the selection.

    Raises
    ------
    ParameterError
        Nothing is found, or the model does not know the word.
    CheckpointError
        The model cannot be loaded, or is of another kind.
    """
    word = str(selection.checkpoint)
    model, directory = pipelines.model(word), pipelines.directory(word)
    try:
        mask = segment(model, directory, picture.image, selection.words, selection.threshold)
    except ParameterError as error:
        if word not in embedded.names():
            raise
        raise ParameterError(f"{error} Any words: {with_large_model(selection).text}, from the hub.") from None
    return as_selected(mask, selection.text, "Lower the probability, as in `text:sky~0.3`, or look for something else.")


@torch.no_grad()
def segment(model: Any, directory: Path, image: Image.Image, words: str | None, threshold: float) -> Image.Image:
    """Return where a picture shows what is asked for.

    Parameters
    ----------
    model
        `CLIPSegForImageSegmentation`, one of `AutoModelForSemanticSegmentation`'s classes, or `SamModel`; on its device.
    directory
        Where its files are, with `preprocessor_config.json` among them.
    image
        RGB, any size.
    words
        What to look for; None for the subject, which SAM takes to be what the middle of the picture belongs to.
    threshold
        Probability from which a pixel is selected, in (0, 1).

    Returns
    -------
    L, of the picture's size: 255 where it is selected, 0 elsewhere.

    Raises
    ------
    ParameterError
        The model has a list of what it knows, and this is not in it.
    CheckpointError
        The model is of another kind.
    """
    kind = type(model).__name__
    if kind == "SamModel":
        seen = _in_the_middle(model, directory, image, words)
    elif kind == "CLIPSegForImageSegmentation":
        seen = _by_words(model, directory, image, words or SUBJECT)
    elif kind.endswith("ForSemanticSegmentation"):
        seen = _by_label(model, directory, image, words or SUBJECT)
    else:
        kinds = "CLIPSeg, a semantic segmentation model such as SegFormer, or SAM"
        raise CheckpointError(f"{model.name_or_path} is a {kind}, which selects no part of a picture. Name {kinds}.")
    likely = torch.nn.functional.interpolate(seen[None, None].float(), image.size[::-1], mode="bilinear", align_corners=False)
    return Image.fromarray(np.where(likely[0, 0].cpu().numpy() >= threshold, 255, 0).astype(np.uint8))


def known_words(config: Any) -> Mapping[str, tuple[int, ...]]:
    """Return what a model's config lists as what it knows, in small letters with its classes; empty where it takes any words."""
    labels = {int(number): str(label) for number, label in (config.id2label or {}).items()}
    if all(label == f"LABEL_{number}" for number, label in labels.items()):
        return {}
    known: dict[str, tuple[int, ...]] = {}
    for number, label in sorted(labels.items()):
        # ADE20K's lists have several names for one class, "person, individual" or "person;individual"; several may have one.
        for name in label.replace(";", ",").split(","):
            known[name.strip().lower()] = (*known.get(name.strip().lower(), ()), number)
    return known


def _classes(model: Any, words: str) -> list[int]:
    known = known_words(model.config)
    bare = words.lower().removeprefix("a ").removeprefix("an ").removeprefix("the ").strip()
    if not known:
        raise CheckpointError(f"{model.name_or_path} does not say what its classes are, so that no word selects one.")
    if bare not in known:
        near, shown = nearest(bare, list(known)), ", ".join(list(known)[:WORDS_SHOWN])
        more = "." if len(known) <= WORDS_SHOWN else " and more."
        way_out = f"Did you mean {near!r}?" if near else f"It knows {shown}{more}"
        raise ParameterError(f"`mask_image` must name something that the segmenter knows, got {words!r}. {way_out}")
    return list(known[bare])


def _by_words(model: Any, directory: Path, image: Image.Image, words: str) -> Tensor:
    pixels = AutoImageProcessor.from_pretrained(directory, local_files_only=True)(images=image, return_tensors="pt").pixel_values
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    ids = tokenizer([words], padding=True, truncation=True, max_length=77, return_tensors="pt").input_ids
    logits = model(input_ids=ids.to(model.device), pixel_values=pixels.to(model.device, model.dtype)).logits
    probabilities: Tensor = logits.float().sigmoid().reshape(logits.shape[-2:])
    return probabilities


def _by_label(model: Any, directory: Path, image: Image.Image, words: str) -> Tensor:
    classes = _classes(model, words)
    pixels = AutoImageProcessor.from_pretrained(directory, local_files_only=True)(images=image, return_tensors="pt").pixel_values
    logits = model(pixel_values=pixels.to(model.device, model.dtype)).logits
    probabilities: Tensor = logits.float().softmax(1)[0, classes].sum(0)
    return probabilities


def _in_the_middle(model: Any, directory: Path, image: Image.Image, words: str | None) -> Tensor:
    if words is not None:
        raise ParameterError(
            f"`mask_image` must be `auto:subject` for {model.name_or_path}, which knows no words, got {f'text:{words}'!r}."
        )
    processor = SamProcessor.from_pretrained(directory, local_files_only=True)
    middle = [[[[image.width / 2, image.height / 2]]]]
    given = processor(images=image, input_points=middle, return_tensors="pt")
    taken = {name: value for name, value in given.items() if name in ("pixel_values", "input_points")}
    made = model(**{name: value.to(model.device, model.dtype) for name, value in taken.items()})
    sizes = given["original_sizes"], given["reshaped_input_sizes"]
    masks = processor.image_processor.post_process_masks(made.pred_masks.float().cpu(), *sizes, binarize=False)[0][0]
    best: Tensor = masks[int(made.iou_scores[0, 0].argmax())].sigmoid()
    return best

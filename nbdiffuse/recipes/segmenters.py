"""Models that find a part of a picture, for a mask that is said in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from .. import embedded
from ..errors import ParameterError
from ..images.mask_selection import SUBJECT, ModelledSelection, checked, is_selection, modelled
from ..images.picture import Picture
from .recipe import Recipe
from .weights_source import source

SEGMENTERS: Mapping[str, str] = MappingProxyType({"text": "CIDAS/clipseg-rd64-refined", SUBJECT: "facebook/sam-vit-base"})
"""The usual model on the hub for each kind of selection."""
EMBEDDED = "segmenter"
"""The usual one in this package."""

_segmenter: Callable[[Picture, ModelledSelection], Picture] | None = None


def segment_with(segmenter: Callable[[Picture, ModelledSelection], Picture]) -> None:
    """Set the function that runs the models; the room where it is defined may not be imported here."""
    global _segmenter
    _segmenter = segmenter


def with_checkpoint(text: str, base: str | None = None) -> ModelledSelection:
    """Return what a text has a model find, with the model that does: the one that it names, else the usual one.

    Parameters
    ----------
    text
        Such as "text:sky".
    base
        The checkpoint that redraws: the small segmenter knows what the small checkpoints draw, and no photographs.
        Without it, the source of weights that is in force decides.
    """
    selection = modelled(text)
    if selection is None:
        raise ParameterError(f"`mask_image` must be said in words for a model, such as `text:sky`, got {text!r}.")
    if selection.checkpoint is not None:
        return selection
    small = source() == "embedded" if base is None else base in embedded.names()
    return dataclasses.replace(selection, checkpoint=EMBEDDED) if small else with_large_model(selection)


def with_large_model(selection: ModelledSelection) -> ModelledSelection:
    """Return a selection by the usual model on the hub."""
    return dataclasses.replace(selection, checkpoint=SEGMENTERS[SUBJECT if selection.words is None else "text"])


def segmented(image: Picture, text: str, base: str) -> Picture:
    """Return the mask that a model finds for a text, for a checkpoint to redraw; the same is found once.

    Raises
    ------
    ParameterError
        Nothing is found, or the model does not know the word.
    CheckpointError
        The model cannot be loaded, or is of another kind.
    """
    return _segmented(image, with_checkpoint(text, base))


def selected_by(recipe: Recipe) -> str:
    """Return what selected a complete recipe's mask, by which model, such as "text:sky@segmenter"; "" where nothing did."""
    mask = recipe.get("mask_image")
    label = mask.label if isinstance(mask, Picture) else ""
    try:
        return checked("selection", label) if is_selection(label) else ""
    except ParameterError:  # A file may be called anything.
        return ""


@lru_cache(maxsize=16)
def _segmented(image: Picture, selection: ModelledSelection) -> Picture:
    if _segmenter is None:
        raise ParameterError(f"`mask_image` must be a picture where no session is at hand, got {selection.text!r}.")
    return _segmenter(image, selection)

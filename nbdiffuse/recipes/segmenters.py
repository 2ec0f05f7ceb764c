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
"""The usual one in this package, where it is there."""

_segmenter: Callable[[Picture, ModelledSelection], Picture] | None = None


def segment_with(segmenter: Callable[[Picture, ModelledSelection], Picture]) -> None:
    """Set the function that runs the models; the room where it is defined may not be imported here."""
    global _segmenter
    _segmenter = segmenter


def with_checkpoint(text: str) -> ModelledSelection:
    """Return what a text has a model find, with the model that does: the one that it names, else the usual one."""
    selection = modelled(text)
    if selection is None:
        raise ParameterError(f"`mask_image` must be said in words for a model, such as `text:sky`, got {text!r}.")
    if selection.checkpoint is not None:
        return selection
    usual = SEGMENTERS[SUBJECT if selection.words is None else "text"]
    if source() == "embedded" and EMBEDDED not in embedded.names():
        named = dataclasses.replace(selection, checkpoint=usual).text
        raise ParameterError(
            f"`mask_image` must name a model of the hub, got {text!r}: none comes with this package. Write {named}, "
            "or choose the full-size models by `%diffuse use hub`."
        )
    return dataclasses.replace(selection, checkpoint=EMBEDDED if source() == "embedded" else usual)


def segmented(image: Picture, text: str) -> Picture:
    """Return the mask that a model finds for a text; the same is found once.

    Raises
    ------
    ParameterError
        Nothing is found, or the model does not know the word.
    CheckpointError
        The model cannot be loaded, or is of another kind.
    """
    return _segmented(image, with_checkpoint(text))


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

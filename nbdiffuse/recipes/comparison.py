"""Comparison of a run's picture with the one that it started from: where it may change, and whether it shows the same."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any, TypeAlias

from PIL import Image

from ..errors import NbdiffuseError, ParameterError
from ..images import fidelity
from ..images.fidelity import Fidelity
from ..images.mask_selection import checked, is_selection, modelled, select
from ..images.masks import as_mask
from ..images.metrics import METRICS, SPOKEN
from ..images.picture import Picture
from .corrections import corrects
from .recipe import Recipe
from .segmenters import segmented
from .sizes import fitted_picture

Pair: TypeAlias = tuple[Image.Image, Image.Image]
_identities: Callable[[list[Pair], str], list[float]] | None = None


def identify_with(identities: Callable[[list[Pair], str], list[float]]) -> None:
    """Set the function that runs a CLIP on pairs of pictures; the room where it is defined may not be imported here."""
    global _identities
    _identities = identities


def compared(recipe: Recipe, initial: Image.Image | None, image: Image.Image, mask: Any = None) -> Fidelity:
    """Measure what a complete recipe's run changed; see `Result.compare`.

    Parameters
    ----------
    recipe
        Complete.
    initial, image
        RGB: what it started from, and what came of it.
    mask
        Where it may change; the recipe's own mask when not given.
    """
    if initial is None:
        raise ParameterError(
            "`compare` needs an initial picture, and this result was made from text alone. Measure `prompt_score`."
        )
    METRICS["shift"].require()
    allowed = own_mask(recipe) if mask is None else _mask(mask, initial, str(recipe.checkpoint))
    measured = fidelity.compare(initial, image, allowed)
    try:
        (same,) = _identities([(measured.initial, measured.image)], str(recipe.checkpoint)) if _identities else (None,)
    except NbdiffuseError as error:
        return dataclasses.replace(measured, notices=(f"`identity` was not measured: {error}",))
    return dataclasses.replace(measured, identity=same)


def require_libraries(recipe: Recipe) -> None:
    """Raise `NbdiffuseError` where a recipe changes its picture afterwards and what measures that is not installed."""
    missing = [name for name in METRICS["shift"].libraries if importlib.util.find_spec(name) is None]
    if corrects(recipe.corrections) and missing:
        field = "align" if recipe.get("align") else "keep_color"
        way_out = f"Run `pip install {METRICS['shift'].install}`, or leave it out."
        raise NbdiffuseError(f"`{field}` needs {SPOKEN.get(missing[0], missing[0])}, which is not installed. {way_out}")


def own_mask(recipe: Recipe) -> Image.Image | None:
    """Return a complete recipe's mask as its run had it, L; None where there is none, or its pixels are not at hand."""
    mask = recipe.get("mask_image")
    return fitted_picture(recipe, "mask_image") if isinstance(mask, Picture) and mask.at_hand else None


def _mask(given: Any, initial: Image.Image, base: str) -> Image.Image:
    """Return where a person lets a picture change, L: from a selection of a part of the initial one, or any picture."""
    if not is_selection(given):
        return as_mask(Picture.of(given)).image.convert("L")
    picture, text = Picture.of(initial), checked("mask", given)
    return (select(picture, text) if modelled(text) is None else segmented(picture, text, base)).image.convert("L")

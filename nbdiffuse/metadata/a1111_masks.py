"""What the generation text of AUTOMATIC1111 says of a mask; the mask itself is in no text."""

from __future__ import annotations

from collections.abc import Mapping

from ..families.parameters import number_text
from ..recipes.recipe import Recipe

PADDING = "32"
"""Pixels around the masked part that AUTOMATIC1111 takes where its text does not say how many."""
CONTENTS = {"original": "original", "fill": "fill", "latent noise": "latent_noise", "latent nothing": "latent_nothing"}
"""Its words for what is under a mask at the start."""
NEAREST = {"noise": "latent noise", "nothing": "latent nothing"}
"""Those that come nearest to noise and grey of pixels, which it has not."""
_SAYS_NOTHING = {("Mask mode", "Inpaint masked"), ("Inpaint area", "Whole picture")}


def texts_of(key: str, value: str, entries: Mapping[str, str]) -> dict[str, str] | None:
    """Return the fields that an entry sets, each with its text, or None where it is not about a mask.

    Parameters
    ----------
    key, value
        Such as "Mask blur", "4".
    entries
        Every entry of the text: the padding stands in one of its own.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/processing.py`, `StableDiffusionProcessingImg2Img.init`.
    """
    if (key, value) in _SAYS_NOTHING:
        return {}
    if key == "Mask blur":
        return {"mask_blur": value}
    if (key, value) == ("Mask mode", "Inpaint not masked"):
        return {"mask_invert": "true"}
    if (key, value) == ("Inpaint area", "Only masked"):
        return {"mask_crop": entries.get("Masked area padding", PADDING)}
    if key == "Masked content" and value in CONTENTS:
        # Where only the masked part is drawn, ours are pixels.
        cropped = entries.get("Inpaint area") == "Only masked"
        return {"mask_content": CONTENTS[value].removeprefix("latent_") if cropped else CONTENTS[value]}
    if key == "Masked area padding" and entries.get("Inpaint area") == "Only masked":
        return {}
    return None


def entries_of(recipe: Recipe) -> dict[str, str | None]:
    """Return what a complete recipe says of its mask in the words of AUTOMATIC1111, which has none for `mask_grow`."""
    mask = recipe.mask
    if mask is None:
        return {}
    return {
        "Mask blur": number_text(mask.blur) if mask.blur else None,
        "Mask mode": "Inpaint not masked" if mask.invert else None,
        "Masked content": _content(str(mask.content)) if mask.hides else None,
        "Inpaint area": None if mask.crop is None else "Only masked",
        "Masked area padding": None if mask.crop is None else number_text(mask.crop),
    }


def _content(ours: str) -> str:
    return NEAREST.get(ours) or next(theirs for theirs, one in CONTENTS.items() if one == ours)

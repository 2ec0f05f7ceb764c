"""Corrections of a finished picture that keep it near the one that it was made from: a part of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..families.parameters import Param
from .parts import Part, declared_in_part


@dataclass(frozen=True, kw_only=True)
class Corrections(Part):
    """What is done to the finished picture to keep it near the initial one.

    Parameters
    ----------
    align
        Whether a picture that was moved, zoomed or turned is brought back onto the initial one, see
        `images.registration`; what lay beyond the border is then the initial picture's.
    keep_color
        Whether its colours are brought to those of the initial picture, by what stayed of it: what lies
        outside the mask, and without one what is still recognised.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "corrections"

    align: bool | None = declared_in_part(
        "align", Param(bool, "bring a result that was moved, zoomed or turned back onto the initial picture")
    )
    keep_color: bool | None = declared_in_part(
        "keep_color", Param(bool, "bring the result's colours to those of what stayed of the picture")
    )


def corrects(corrections: Corrections | None) -> bool:
    """Tell whether something is done to the finished picture."""
    return corrections is not None and bool(corrections.align or corrections.keep_color)

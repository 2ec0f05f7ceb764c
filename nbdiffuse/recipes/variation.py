"""A variation: the noise of a recipe's seed, turned towards that of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..families.parameters import Param
from .parts import Part, declared_in_part


@dataclass(frozen=True, kw_only=True)
class Variation(Part):
    """Another seed and how far the noise is turned towards its; AUTOMATIC1111's variation seed, or subseed.

    Parameters
    ----------
    seed
        The other seed, in [0, 2**63 - 1].
    strength
        0 is the noise of the recipe's own seed, 1 that of the other; what lies between keeps its length.

    Raises
    ------
    ParameterError
        A value breaks its rule.

    Notes
    -----
    With an initial picture it is the noise that is added to it; what a scheduler adds at each step stays that of the
    recipe's seed. Source: AUTOMATIC1111 `modules/rng.py`, spherical interpolation along the second axis of a picture's noise.
    """

    TITLE: ClassVar[str] = "variation"

    seed: int | None = declared_in_part(
        "variation_seed", Param(int, "another seed, whose noise the run's is turned towards", 0, 2**63 - 1, 1)
    )
    strength: float | None = declared_in_part(
        "variation_strength", Param(float, "how far the noise is turned towards that of the variation seed", 0, 1, 0.05)
    )

"""Format 1 of a recipe's JSON, in which every field of two ControlNets was a field of the recipe.

It is read like any other names and values, see `fields.FORMAT_1`. What the store kept under a
digest of it is found by writing it once more.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..images.latents import Latents
from ..images.picture import Picture
from .fields import FORMAT_1
from .lora import JOINT
from .recipe import Recipe

_NAMES = {place: name for name, place in FORMAT_1.items()}


def digest_of_format_1(recipe: Recipe) -> str | None:
    """Return the digest that a recipe had at format 1, or None where that format could not say it."""
    values: dict[str, Any] = {"format": 1}
    for name, value in recipe.values().items():
        if name.startswith("loras."):
            continue
        if name == "lora":
            value = JOINT.join(map(str, recipe.loras))
        if "." in name and name not in _NAMES:
            return None
        values[_NAMES.get(name, name)] = value.address if isinstance(value, (Picture, Latents)) else value
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()

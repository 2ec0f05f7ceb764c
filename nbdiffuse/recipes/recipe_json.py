"""The JSON of a recipe: its values by name, and its pictures in the place of their content addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ParameterError
from ..families.parameters import Param
from ..images.latents import MARK, Latents
from ..images.picture import Picture
from .fields import PARTS, place_of


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and refuse a name that is in it twice instead of forgetting the first."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"`{twice}` must be given once in a recipe's JSON, got it twice. Leave one out.")
    return values


def named_values(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each value of a JSON object of a recipe under the name of its field, those of parts among them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((inside if name == "arguments" else f"{name}.{inside}", one) for inside, one in value.items())
        elif name in PARTS and isinstance(value, (list, tuple)):
            for number, part in enumerate(value, start=1):
                yield from named_values({f"{name}.{number}": part})
        else:
            yield name, value


def with_pictures(name: str, value: Any, core: Mapping[str, Param]) -> Any:
    """Return a value of a JSON object, with pictures in the place of content addresses."""
    if isinstance(value, Mapping):
        return {str(key): with_pictures(f"{name}.{key}", one, core) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_pictures(f"{name}.{number}", one, core) for number, one in enumerate(value, start=1)]
    if not isinstance(value, str) or not value.startswith(("sha256:", MARK)):
        return value
    place = place_of(name, core)
    if place is None or place.param.kind is not Picture:
        return value
    return Latents.at(value) if value.startswith(MARK) else Picture(value)

"""Values of a recipe by the names of its fields, those of its parts among them, such as `controlnets.2.scale`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.arguments import ARGUMENTS
from .call_arguments import Arguments
from .fields import OF_PARTS, PARTS, SINGLE, Place, names_of, numbered
from .parts import Part


def listed(held: Any) -> tuple[Any, ...]:
    """Return the parts of a field that holds several, one or none."""
    return held if isinstance(held, tuple) else () if held is None else (held,)


def places(part: str, number: int) -> list[Place]:
    """Return the places of one part's fields, as they are shown."""
    first = (OF_PARTS[name] for name in names_of(part))
    return [dataclasses.replace(place, name=numbered(place.name, number), number=number) for place in first]


def of_part(part: Any, place: Place) -> Any:
    """Return the value of one field of a part; of a part that is written as one text, that text."""
    return getattr(part, place.attribute) if place.attribute else str(part)


def value_of(recipe: Any, place: Place) -> Any:
    """Return what a recipe holds at a place, or None."""
    if not place.part:
        return getattr(recipe, place.name)
    if place.part == "arguments":
        return recipe.arguments.get(place.name)
    held = listed(getattr(recipe, place.part))
    return of_part(held[place.number - 1], place) if place.number <= len(held) else None


def assign(values: dict[str, Any], name: str, place: Place, value: Any) -> None:
    """Set one field by any of its names; None leaves it open."""
    if not place.part:
        values[place.name] = None if value is None else place.param.check(place.name, value)
    elif place.part == "arguments":
        given = {one: held for one, held in values["arguments"].items() if one != name}
        values["arguments"] = Arguments(given if value is None else {**given, name: place.param.check(name, value)})
    elif not place.attribute and isinstance(value, str) and len(several := PARTS[place.part].several(value)) > 1:
        values[place.part] = several
    else:
        kind, held = PARTS[place.part], list(listed(values[place.part]))
        if value is None and place.number > len(held):
            return
        if place.number > len(held) + 1:
            raise ParameterError(f"`{name}` must follow {place.part}.{place.number - 1}, and there are {len(held)}.")
        held += [kind()] if place.number > len(held) else []
        old = held[place.number - 1]
        new = (
            dataclasses.replace(old, **{place.attribute: value})
            if place.attribute
            else kind()
            if value is None
            else kind.of(value)
        )
        held[place.number - 1] = new
        held = [one for one in held if not one.empty]
        values[place.part] = next(iter(held), None) if place.part in SINGLE else tuple(held)


def parts_of(kind: type[Part], name: str, value: Any) -> Any:
    """Return a part or a tuple of them, without those of which nothing is said."""
    if name in SINGLE:
        one = None if value is None else kind.of(value)
        return None if one is None or one.empty else one
    if value is not None and not isinstance(value, (Part, Mapping, str, Iterable)):
        raise ParameterError(breaks_rule(name, f"a list of {kind.__name__}", value))
    given = () if value is None else (value,) if isinstance(value, (Part, Mapping, str)) else tuple(value)
    return tuple(one for one in map(kind.of, given) if not one.empty)


def order(place: Place, core: Mapping[str, Any]) -> tuple[int, str]:
    """Sort key: the core's fields, then each part's and the arguments, as they are declared."""
    name = place.name
    if not place.part:
        return list(core).index(name), ""
    kinds = [*PARTS, "arguments"]
    known = list(ARGUMENTS)
    inside = known.index(name) if name in known else len(known)
    return len(core) + kinds.index(
        place.part
    ), f"{place.number:03}{inside:03}" if place.part == "arguments" else f"{place.number:03}"

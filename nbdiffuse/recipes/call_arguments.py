"""Arguments of a family's call, as one value of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ParameterError


class Arguments(Mapping[str, Any]):
    """Arguments of a family's call by name: a mapping that is hashable and cannot be changed."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values = dict(sorted((values or {}).items()))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


def checked_arguments(given: Mapping[str, Any], place_of: Callable[[str], Any]) -> Arguments:
    """Return arguments by name, each checked by its declaration, without those that are open.

    Parameters
    ----------
    given
        Names and values.
    place_of
        Returns the `fields.Place` of a name, or raises.

    Raises
    ------
    ParameterError
        A name is no argument, or a value breaks its rule.
    """
    if not isinstance(given, Mapping):
        raise ParameterError(f"`arguments` must be names with values, got {given!r}.")
    places = {name: place_of(name) for name in given}
    for name, place in places.items():
        if place.part != "arguments":
            raise ParameterError(
                f"`arguments` must name arguments of a family's call, got {name!r}, which is a field of its own."
            )
    return Arguments({name: places[name].param.check(name, value) for name, value in given.items() if value is not None})

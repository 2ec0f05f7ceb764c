"""Arguments of a family's call, as one value of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


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

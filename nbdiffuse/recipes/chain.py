"""Chains: recipes of which each one redraws the result of the one before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ParameterError, Words, breaks_rule
from .link import Link
from .recipe import Recipe

FORMAT = 1
"""Format number of a chain's JSON."""
MAX_STEPS = 100


@dataclass(frozen=True)
class Chain(Link):
    """Recipes run one after the other, each with the result of the one before as its initial picture.

    Parameters
    ----------
    steps
        In [1, 100] recipes; only the first may have an `image`.

    Raises
    ------
    ParameterError
        There is no step or there are too many, or a later step has an initial picture of its own.

    Examples
    --------
    >>> from nbdiffuse import Recipe
    >>> len(Recipe(prompt="a cat") >> Recipe(prompt="a cat, pixelartstyle", model="pixel-art"))
    2
    """

    steps: tuple[Recipe, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= MAX_STEPS:
            raise ParameterError(breaks_rule("chain", f"made of 1 to {MAX_STEPS} steps", Words(str(len(self.steps)))))
        for number, step in enumerate(self.steps[1:], start=2):
            if step.image is not None:
                way_out = "Leave it out, or begin a chain of its own."
                raise ParameterError(
                    f"`image` of step {number} must be what step {number - 1} makes, got {step.image!r}. {way_out}"
                )

    def __iter__(self) -> Iterator[Recipe]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Recipe:
        return self.steps[index]

    def replace(self, number: int, **changes: Any) -> Chain:
        """Return a copy with some fields of one step changed; steps are counted from 1."""
        if not 1 <= number <= len(self.steps):
            raise ParameterError(breaks_rule("step", f"in [1, {len(self.steps)}]", Words(str(number))))
        changed = self.steps[number - 1].replace(**changes)
        return Chain((*self.steps[: number - 1], changed, *self.steps[number:]))

    def to_dict(self) -> dict[str, Any]:
        """Return the steps' fields, pictures as content addresses."""
        return {"format": FORMAT, "steps": [step.to_dict() for step in self.steps]}

    def to_json(self) -> str:
        """Return canonical JSON."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], step_of: Callable[[Mapping[str, Any]], Recipe]) -> Chain:
        """Read what `to_dict` gave; `step_of` reads a step, as `Recipe.from_dict` does."""
        if values.get("format") != FORMAT or not isinstance(values.get("steps"), list):
            raise ParameterError(f"A chain must be a JSON object of format {FORMAT} with steps.")
        return cls(tuple(step_of(step) for step in values["steps"]))


def joined(first: Link, second: Link) -> Chain:
    """Return the chain of the steps of two recipes or chains; what `first >> second` gives."""
    steps: list[Recipe] = []
    for link in (first, second):
        steps += link.steps if isinstance(link, Chain) else [link] if isinstance(link, Recipe) else []
    return Chain(tuple(steps))

"""Prompting: what a row's prompt becomes, with a table's words, a caption of its picture, and lines of wildcards."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError
from ..images.picture import Picture
from ..prompts import wildcards
from ..prompts.wildcards import Wildcards
from ..recipes.recipe import Recipe

PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}")
CAPTION = "caption"
"""The placeholder that a captioner fills."""


def filled(prompt: str, words: Mapping[str, str]) -> str:
    """Return a prompt with `{column}` replaced by what the row says there; other braces stay."""
    return PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), prompt)


@dataclass(frozen=True)
class Prompting:
    """What completes the prompts of a batch; one for all of its rows.

    Parameters
    ----------
    wildcards
        See `wildcards.read`; None leaves `__name__` as it stands.
    caption
        Returns what a picture shows, in words; None leaves `{caption}` as it stands.
    noted
        What a batch's note says of both, so that another one does not go on in its folder.
    """

    wildcards: Wildcards | None = None
    caption: Callable[[Picture], str] | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether a row's prompt may be another one than is written."""
        return self.wildcards is not None or self.caption is not None

    def complete(self, recipe: Recipe, words: Mapping[str, str], name: str) -> Recipe:
        """Return a row's recipe with its prompts complete.

        Parameters
        ----------
        recipe
            With the row's picture and seed.
        words
            What stands for `{column}`.
        name
            Of the row: with the seed it decides which lines are drawn, so that rows that are added change no others.

        Raises
        ------
        ParameterError, CheckpointError
            A wildcard has no file, or the captioner cannot be used.
        """
        prompt = filled(recipe.prompt, words)
        if self.caption is not None and CAPTION in PLACEHOLDER.findall(prompt):
            if not isinstance(recipe.image, Picture):
                raise ParameterError("`{caption}` must stand in a prompt for a picture, and this row has none. Leave it out.")
            prompt = filled(prompt, {CAPTION: self.caption(recipe.image)})
        texts = {"prompt": prompt, "negative_prompt": recipe.negative_prompt}
        if self.wildcards is not None:
            seed = f"{recipe.seed}:{name}"
            texts = {
                field: wildcards.filled(text, self.wildcards, f"{seed}:{field}") if isinstance(text, str) else text
                for field, text in texts.items()
            }
        changed = {field: text for field, text in texts.items() if text != getattr(recipe, field)}
        return recipe.replace(**changed) if changed else recipe

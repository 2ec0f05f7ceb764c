"""Provenance: what a file says about where its picture comes from, as JSON that later versions read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FileError, NbdiffuseError, ParameterError, breaks_rule
from ..recipes.chain import Chain
from ..recipes.lora import without_paths
from ..recipes.recipe import Recipe

FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    Parameters
    ----------
    recipe
        Complete; its pictures stand as content addresses.
    fingerprint
        What else can change the pixels, by name; written as it is, so without paths.
    parents
        Content addresses of the pictures, or digests of the recipes, it was made from.
    partial
        Number of steps after which a stopped run was kept, at least 0, or None for a
        finished one.
    version
        Of nbdiffuse.
    chain
        The whole chain up to this picture, where it was made by one, or None.

    Raises
    ------
    ParameterError
        A parent is no address or digest, or `partial` no number of steps.
    """

    recipe: Recipe
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    partial: int | None = None
    version: str = ""
    chain: Chain | None = None

    def __post_init__(self) -> None:
        for parent in self.parents:
            # A path here would carry a person's name into the file.
            if not (isinstance(parent, str) and re.fullmatch("(sha256:)?[0-9a-f]{64}", parent)):
                raise ParameterError(breaks_rule("parents", "content addresses or digests", parent))
        if self.partial is not None and (type(self.partial) is not int or self.partial < 0):
            raise ParameterError(breaks_rule("partial", "a whole number of steps, at least 0", self.partial))

    def to_share(self) -> Provenance:
        """Return what may be written into a file that leaves this machine."""
        chain = self.chain and Chain(tuple(map(_without_path, self.chain)))
        return dataclasses.replace(self, recipe=_without_path(self.recipe), chain=chain)

    def to_json(self) -> str:
        """Return JSON with sorted keys."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "recipe": json.loads(self.recipe.to_json()),
            "fingerprint": dict(self.fingerprint),
            "parents": list(self.parents),
            "version": self.version,
        }
        if self.chain is not None:
            values["chain"] = self.chain.to_dict()
        if self.partial is not None:
            values["partial"] = self.partial
        return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read what `to_json` wrote.

        Raises
        ------
        FileError
            The text is damaged, or of another format.
        """
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise ParameterError(breaks_rule("format", str(FORMAT), values["format"]))
            recipe = _as_written(Recipe.from_json(json.dumps(values["recipe"])))
            fingerprint = {str(key): str(value) for key, value in values.get("fingerprint", {}).items()}
            parents = tuple(values.get("parents", ()))
            chain = Chain.from_dict(values["chain"], _step) if "chain" in values else None
            return cls(recipe, fingerprint, parents, values.get("partial"), str(values.get("version", "")), chain)
        except NbdiffuseError as error:
            raise FileError(f"The recipe in this file cannot be used: {str(error)[:300]}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FileError(f"The recipe in this file is damaged: {type(error).__name__}.") from None


def _step(values: Mapping[str, Any]) -> Recipe:
    return _as_written(Recipe.from_dict(values))


def _as_written(recipe: Recipe) -> Recipe:
    """Say of a mask without `mask_overlay` that nothing was laid over the result.

    What a file tells is complete, so that one which names a mask and not this field was
    written before there was one, when the pipeline's own result was kept: made again,
    it gives the same pixels. A recipe that somebody writes may leave the field open.
    """
    return recipe.replace(mask_overlay="none") if recipe.mask_image is not None and recipe.mask_overlay is None else recipe


def _without_path(recipe: Recipe) -> Recipe:
    """Leave of the paths of a local checkpoint and LoRA only their last part: the rest may name a person."""
    recipe = recipe.replace(lora=recipe.lora and without_paths(recipe.lora))
    checkpoint = recipe.checkpoint or ""
    local = Path(checkpoint).expanduser().is_absolute() or checkpoint.startswith((".", "~"))
    return recipe.replace(checkpoint=Path(checkpoint).name) if local else recipe

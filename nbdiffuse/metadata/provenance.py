"""Provenance: what a file says about where its picture comes from, as JSON that later versions read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import embedded
from ..errors import FileError, NbdiffuseError, ParameterError, breaks_rule
from ..images import mask_selection
from ..images.latents import MARK
from ..images.picture import Picture
from ..recipes.chain import Chain
from ..recipes.portable import portable
from ..recipes.presets import is_named
from ..recipes.recipe import PARAMS, Recipe
from ..recipes.recipe_json import named_values
from .fingerprints import cleaned

FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    Parameters
    ----------
    recipe
        Complete; its pictures stand as content addresses.
    fingerprint
        What else can change the pixels, by name; see `fingerprints`.
    parents
        Content addresses of the pictures, or digests of the recipes, it was made from.
    partial
        Number of steps after which a stopped run was kept, at least 0, or None for a
        finished one.
    version
        Of nbdiffuse.
    chain
        The whole chain up to this picture, where it was made by one, or None.
    selection
        What selected the recipe's mask and by which model, such as "text:sky@segmenter"; empty where nothing did.
    left_out
        A line for each part of a file's text that nothing of its kind may be, such as a dtype that
        torch does not have; not compared.

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
    selection: str = ""
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for parent in self.parents:
            # A path here would carry a person's name into the file.
            if not (isinstance(parent, str) and re.fullmatch("(sha256:)?[0-9a-f]{64}", parent)):
                raise ParameterError(breaks_rule("parents", "content addresses or digests", parent))
        if self.selection:
            mask_selection.checked("selection", self.selection)
        if self.partial is not None and (type(self.partial) is not int or self.partial < 0):
            raise ParameterError(breaks_rule("partial", "a whole number of steps, at least 0", self.partial))

    def to_share(self) -> Provenance:
        """Return what may be written into a file that leaves this machine: no paths, and a fingerprint's own entries."""
        chain = self.chain and Chain(tuple(portable(step, self._fingerprint_of(step)) for step in self.chain))
        recipe, fingerprint = portable(self.recipe, self.fingerprint), cleaned(self.fingerprint)[0]
        return dataclasses.replace(self, recipe=recipe, chain=chain, fingerprint=fingerprint, version=_version(self.version))

    def _fingerprint_of(self, step: Recipe) -> Mapping[str, str]:
        """Return what the fingerprint, which is the last step's, says of the weights that a step has, too."""
        same = (step.checkpoint, step.loras) == (self.recipe.checkpoint, self.recipe.loras)
        return {"checkpoint": self.fingerprint["checkpoint"]} if same and "checkpoint" in self.fingerprint else {}

    def to_json(self) -> str:
        """Return JSON with sorted keys, without paths of this machine; see `to_share`."""
        return self.to_share().to_own_json()

    def to_own_json(self) -> str:
        """Return JSON with sorted keys, with local paths as they are: for files that stay on this machine."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "recipe": json.loads(self.recipe.to_json()),
            "fingerprint": dict(self.fingerprint),
            "parents": list(self.parents),
            "version": self.version,
        }
        if self.chain is not None:
            values["chain"] = self.chain.to_dict()
        if self.selection:
            values["selection"] = self.selection
        if self.partial is not None:
            values["partial"] = self.partial
        return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read what `to_json` wrote, here or elsewhere.

        Words for weights are embedded names, hub ids or names of files: of a path only its last
        part is kept. Entries that no fingerprint has are left out, and `left_out` says which.

        Raises
        ------
        FileError
            The text is damaged, or of another format.
        """
        own = cls.from_own_json(text)
        for step in (own.recipe, *(own.chain or ())):
            if not is_named(step.model):
                raise FileError(
                    f"The recipe in this file cannot be used: {breaks_rule('model', 'the name of a preset', step.model)}"
                )
        steps = [step if number else _by_usual_model(step) for number, step in enumerate(own.chain or ())]
        chain = own.chain and Chain(tuple(portable(step, local=False) for step in steps))
        recipe = portable(_by_usual_model(own.recipe), local=False)
        cut = () if (recipe, chain) == (own.recipe, own.chain) else (_cut_line(own.recipe, recipe),)
        return dataclasses.replace(own, recipe=recipe, chain=chain, left_out=(*own.left_out, *cut))

    @classmethod
    def from_own_json(cls, text: str) -> Provenance:
        """Read what `to_own_json` wrote; see `from_json`, which keeps no paths."""
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise ParameterError(breaks_rule("format", str(FORMAT), values["format"]))
            recipe = _recipe_of(values["recipe"], FORMAT)
            fingerprint, left_out = cleaned(dict(values.get("fingerprint", {}).items()))
            chain = Chain.from_dict(values["chain"], _recipe_of) if "chain" in values else None
            version = _version(values.get("version"))
            parents, partial, selection = tuple(values.get("parents", ())), values.get("partial"), values.get("selection", "")
            recipe = _selected_by(recipe, selection)
            return cls(recipe, fingerprint, parents, partial, version, chain, selection, left_out)
        except NbdiffuseError as error:
            raise FileError(f"The recipe in this file cannot be used: {str(error)[:300]}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FileError(f"The recipe in this file is damaged: {type(error).__name__}.") from None


def _selected_by(recipe: Recipe, selection: Any) -> Recipe:
    """Label a recipe's mask with what selected it, so that people see it wherever the mask is shown."""
    mask = recipe.get("mask_image")
    if not selection or not isinstance(mask, Picture):
        return recipe
    label = mask_selection.checked("selection", str(selection))
    return recipe.replace(mask_image=dataclasses.replace(mask, label=label))


def _by_usual_model(recipe: Recipe) -> Recipe:
    """Return a step whose mask is selected by the usual model: a file from elsewhere does not choose what is fetched.

    A step whose picture is there is complete in our own files, with its mask's pixels. What a later step of a chain names is
    fetched with the person's consent alone, see `runs.consent`.
    """
    found = mask_selection.modelled(recipe.get("mask_image"))
    if found is None or found.checkpoint is None or found.checkpoint in embedded.names():
        return recipe
    return recipe.replace(mask_image=dataclasses.replace(found, checkpoint=None).text)


def _cut_line(said: Recipe, kept: Recipe) -> str:
    """Return the line about what a file may not bring in: folders of its own machine, or words for a model that selects."""
    words = [recipe.get("mask_image") for recipe in (said, kept)]
    what = "Folders and segmenters" if words[0] != words[1] else "Folders"
    return f"{what} that the file names are left out."


def _version(value: Any) -> str:
    """Return a version of nbdiffuse as it is; anything else is none."""
    return value if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}", value) else ""


def _recipe_of(values: Mapping[str, Any], form: int | None = None) -> Recipe:
    """Read a recipe whose pictures are content addresses: a path here would be opened, and a URL fetched."""
    for name, value in named_values(values):
        if name not in PARAMS or PARAMS[name].kind is not Picture or value is None:
            continue
        # A later step of a chain says how its picture is made from what the step before makes.
        if not _is_address(value) and not PARAMS[name].is_word(value):
            raise ParameterError(breaks_rule(name, "a content address", value))
    values = {"model": Recipe.model, **values}
    return _as_written(Recipe.from_dict(values) if form is None else Recipe.from_json(json.dumps(values)))


def _as_written(recipe: Recipe) -> Recipe:
    """Say of a mask without `mask_overlay` that nothing was laid over the result.

    What a file tells is complete, so that one which names a mask and not this field was
    written before there was one, when the pipeline's own result was kept: made again,
    it gives the same pixels. A recipe that somebody writes may leave the field open.
    """
    unsaid = recipe.mask is not None and recipe.mask.image is not None and recipe.mask.overlay is None
    return recipe.replace(mask_overlay="none") if unsaid else recipe


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(f"(sha256:|{MARK})[0-9a-f]{{64}}", value) is not None

"""Readings: what a file says of how it was made, whichever tool wrote it, as a recipe and a cell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from ..errors import FileError, ParameterError
from ..images.picture import Picture
from ..metadata import image_files, tools
from ..metadata.a1111 import Parsed
from ..metadata.a1111_samplers import clip_skip_lines
from ..metadata.image_files import ForeignTextError
from ..metadata.imported import visible as visible
from ..metadata.provenance import Provenance
from ..prompts import dialects
from ..recipes import prompt_loras
from ..recipes.chain import Chain
from ..recipes.fields import first_name, names_of
from ..recipes.presets import preset_of
from ..recipes.recipe import PARAMS, PROMPTS, Recipe
from ..recipes.scheduler_rules import SETTINGS
from ..recipes.taken_fields import ALWAYS
from .write import cell_text, chain_text

OURS = "nbdiffuse"
_MISSING = Picture("sha256:" + 64 * "0")
"""Stands for an initial picture that another tool used and does not hand over."""
_OTHER_NOISE = "The seed is carried over, but other tools draw other noise from it: expect a relative of the picture, not itself."


def variable_for(field: str) -> str:
    """Return the name of a variable for a picture of a cell, such as "control_image_2" for "controlnets.2.image"."""
    name = first_name(field)
    return "initial_image" if name == "image" else name + (f"_{field.split('.')[1]}" if name != field else "")


WORDS = {name: variable_for(name) for name, param in PARAMS.items() if param.kind is Picture}
"""Name of a variable for each picture that a cell starts from; further ones of a kind are named by `variable_for`."""


@dataclass(frozen=True)
class ParsedFile:
    """What a file says of how it was made.

    Parameters
    ----------
    tool
        Which one wrote it, for people.
    recipe
        Complete when nbdiffuse wrote it, else what could be carried over. The pictures
        of ours stand as content addresses; an initial one of another tool is left open.
    left_out
        A line for each entry that could not be carried over, and why.
    notices
        Lines that a person should read before a run.
    provenance
        The whole of what our own files say, or None.
    starts_from_picture
        Whether an initial picture belongs to it.
    earlier
        The passes of another tool that come before `recipe`, which redraws what they make; the first one first.
    """

    tool: str
    recipe: Recipe
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    provenance: Provenance | None = None
    starts_from_picture: bool = False
    earlier: tuple[Recipe, ...] = ()

    def cell(self, words: Mapping[str, str] = WORDS) -> str:
        """Return the cell that runs the recipe; `words` names what stands for its pictures."""
        steps = [*self.earlier, self.recipe]
        if self.starts_from_picture and steps[0].image is None:
            steps[0] = steps[0].replace(image=_MISSING)
        steps = [step.replace(mask_image=_MISSING) if _lacks_mask(step) else step for step in steps]
        named = [{name: words.get(name, variable_for(name)) for name in step.pictures} for step in steps]
        return chain_text(Chain(tuple(steps)), named) if self.earlier else cell_text(steps[0], named[0])

    def noting(self, *lines: str) -> ParsedFile:
        """Return a copy with further lines for people in front of its notices."""
        return replace(self, notices=(*lines, *self.notices))

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields whose pictures are not in the file."""
        mask = ("mask_image",) if _lacks_mask(self.recipe) else ()
        return tuple(self.recipe.pictures) or (*(("image",) if self.starts_from_picture else ()), *mask)

    def __repr__(self) -> str:
        """Show all of it; nothing in it can move a terminal's cursor or colour its text."""
        lines = [f"written by {self.tool}", "", *self.cell().splitlines(), "", *self.notices, *self.left_out]
        return "\n".join(map(visible, lines)).strip()


def read(source: str | os.PathLike[str] | bytes | Image.Image, name: str = "") -> ParsedFile:
    """Read how a picture was made: by nbdiffuse, or by one of `metadata.tools.NAMES`.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, its bytes, or a PIL image that was opened from one.
    name
        Of the file that bytes come from.

    Returns
    -------
    ParsedFile
        The recipe, and what could not be carried over. Nothing in the file is run.

    Raises
    ------
    FileError
        The file says nothing of its making, or what it says is damaged or too large.
    ImageInputError
        The file cannot be read.
    """
    reading = read_if_said(source, name)
    if reading is None:
        line = "no tool that nbdiffuse knows left a text in it"
        shown = _shown(source, name)
        raise FileError(f"{shown} does not say how it was made: {line}. It may have been stripped when it was shared.")
    return reading


def read_if_said(source: str | os.PathLike[str] | bytes | Image.Image, name: str = "") -> ParsedFile | None:
    """Read the same, or return None where the file says nothing of its making."""
    found = image_files.read(source, hidden=True)
    if found.provenance is not None:
        return _ours(found.provenance)
    if isinstance(source, (str, os.PathLike)):
        name = os.path.basename(os.fspath(source))
    writer = tools.writer_of(found, name)
    if writer is None:
        return None
    tool, parse = writer
    try:
        return _theirs(tool, parse())
    except ValueError as error:
        raise ForeignTextError(
            f"{_shown(source, name)} cannot be understood: its text from {tool} is {_reason(error)}."
        ) from None


def _shown(source: str | os.PathLike[str] | bytes | Image.Image, name: str) -> str:
    return visible(name) or "The picture" if isinstance(source, (bytes, Image.Image)) else visible(os.fspath(source))


def _reason(error: ValueError) -> str:
    # A reader of JSON tells the position, and no more is of use to anybody.
    return "no JSON" if "line" in str(error) and "column" in str(error) else visible(str(error))[:100]


def _ours(provenance: Provenance) -> ParsedFile:
    recipe = provenance.recipe
    notices: tuple[str, ...] = ()
    if provenance.chain is not None and len(provenance.chain) > 1:
        count = len(provenance.chain)
        notices = (f"It is the last of a chain of {count} steps: `nbdiffuse.replay(FILE)` runs all of them.",)
    if provenance.partial is not None:
        notices += (f"The run was stopped after {provenance.partial} steps; the recipe runs all of them.",)
    return ParsedFile(OURS, recipe, (), notices, provenance, recipe.image is not None)


def _theirs(tool: str, parsed: Parsed) -> ParsedFile:
    passes, left = [*parsed.before, parsed.values], list(parsed.left_out)
    steps = []
    for number, said in enumerate(passes, start=1):
        values, told = prompt_loras.carried(said)
        redraws = number > 1 or any(name in said for name in ("strength", "noise", *names_of("mask")))
        steps.append(_step(values, told, redraws=redraws, keeps_size=number > 1))
        left += [line if len(passes) == 1 else f"Pass {number}: {line}" for line in told]
    recipe, starts = steps[-1], any(name in passes[0] for name in ("strength", "noise", *names_of("mask")))
    texts = [(step.weighting or dialects.NONE, step.get(name) or "") for step in steps for name in PROMPTS]
    notices = list(dict.fromkeys(line for dialect, text in texts for line in dialects.hints(dialect, text)))
    if recipe.seed is not None:
        notices.append(_OTHER_NOISE)
    notices += clip_skip_lines(*(step.get("clip_skip") for step in steps))
    if starts:
        notices.append(f"The file does not hold the initial picture: put it into `{WORDS['image']}` before the cell runs.")
    if any(map(_lacks_mask, steps)):
        notices.append(f"The file does not hold the mask: put it into `{WORDS['mask_image']}` before the cell runs.")
    return ParsedFile(tool, recipe, tuple(left), tuple(notices), None, starts, tuple(steps[:-1]))


def _lacks_mask(step: Recipe) -> bool:
    return step.mask is not None and step.mask.image is None


def _step(values: dict[str, Any], left: list[str], *, redraws: bool, keeps_size: bool) -> Recipe:
    """Return the recipe of one pass, and put into `left` what its preset does not take."""
    try:
        preset = preset_of(values.get("model", Recipe().model))
    except ParameterError as error:
        left.append(f"Not carried over: model. {str(error)[:200]}")
        values.pop("model")
        preset = preset_of(Recipe().model)
    of_masks = set(names_of("mask"))
    trial = Recipe(
        **{name: value for name, value in values.items() if name not in of_masks} | {"image": _MISSING if redraws else None}
    )
    taken = (
        ALWAYS
        | set(preset.defaults_for(preset.mode(trial)))
        | {*names_of("controlnets"), *names_of("loras"), *SETTINGS}
        | (set() if redraws else set(names_of("variation")))
    )
    if preset.inpaints:
        taken |= of_masks
    for name in [name for name in values if name not in taken]:
        left.append(f"Not carried over: {name}: {str(values.pop(name))[:80]!r}, {preset.name} does not take it.")
    if values.get("scheduler") not in (None, *preset.schedulers):
        left.append(f"Not carried over: scheduler: {values.pop('scheduler')!r}, {preset.name} does not take it.")
        values = {name: value for name, value in values.items() if name not in SETTINGS}
    if "clip_skip" in values and "prompt_2" in preset.fields:
        # Their default layer is the last but one already, whatever that tool's number says.
        skipped = values.pop("clip_skip")
        left.append(f"Not carried over: clip_skip: {skipped!r}, {preset.name} reads the last layer but one anyway.")
    if redraws and not keeps_size and values.get("width") and values.get("height"):
        size = f"{values.pop('width')}x{values.pop('height')}"
        left.append(f"Size of the result there: {size}; here it follows the initial picture.")
    return Recipe(**values)

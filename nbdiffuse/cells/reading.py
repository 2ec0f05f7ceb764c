"""Readings: what a file says of how it was made, whichever tool wrote it, as a recipe and a cell."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from PIL import Image

from ..errors import FileError
from ..images.picture import Picture
from ..metadata import a1111, comfyui, fooocus, image_files, invokeai
from ..metadata.a1111 import Parsed
from ..metadata.image_files import Metadata
from ..metadata.provenance import Provenance
from ..prompts import dialects
from ..recipes.completion import ALWAYS
from ..recipes.fields import names_of
from ..recipes.preset import way
from ..recipes.presets import preset_of
from ..recipes.recipe import PARAMS, Recipe
from .transcripts import cell_text

OURS = "nbdiffuse"
WORDS = {name: "initial_image" if name == "image" else name for name, param in PARAMS.items() if param.kind is Picture}
"""Name of a variable for each picture that a cell starts from."""
_MISSING = Picture("sha256:" + 64 * "0")
"""Stands for an initial picture that another tool used and does not hand over."""
_OTHER_NOISE = "The seed is carried over, but other tools draw other noise from it: expect a relative of the picture, not itself."


@dataclass(frozen=True)
class Reading:
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
    """

    tool: str
    recipe: Recipe
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    provenance: Provenance | None = None
    starts_from_picture: bool = False

    def cell(self, words: Mapping[str, str] = WORDS) -> str:
        """Return the cell that runs the recipe; `words` names what stands for its pictures."""
        recipe = self.recipe
        if self.starts_from_picture and recipe.image is None:
            recipe = recipe.replace(image=_MISSING)
        return cell_text(recipe, {name: words[name] for name in recipe.pictures})

    def noting(self, *lines: str) -> Reading:
        """Return a copy with further lines for people in front of its notices."""
        return replace(self, notices=(*lines, *self.notices))

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields whose pictures are not in the file."""
        return tuple(self.recipe.pictures) or (("image",) if self.starts_from_picture else ())

    def __repr__(self) -> str:
        """Show all of it; nothing in it can move a terminal's cursor or colour its text."""
        lines = [f"written by {self.tool}", "", *self.cell().splitlines(), "", *self.notices, *self.left_out]
        return "\n".join(map(visible, lines)).strip()


def visible(text: str) -> str:
    """Replace what a terminal obeys instead of showing it, such as escapes and marks of direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def read(source: str | os.PathLike[str] | Image.Image) -> Reading:
    """Read how a picture was made: by nbdiffuse, AUTOMATIC1111, SD.Next, Fooocus, InvokeAI or ComfyUI.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, or a PIL image that was opened from one.

    Returns
    -------
    Reading
        The recipe, and what could not be carried over. Nothing in the file is run.

    Raises
    ------
    FileError
        The file says nothing of its making, or what it says is damaged or too large.
    ImageInputError
        The file cannot be read.
    """
    shown = "The picture" if isinstance(source, Image.Image) else visible(os.fspath(source))
    found = image_files.read(source)
    if found.provenance is not None:
        return _ours(found.provenance)
    tool, parse, text = _writer(found)
    if not text:
        line = "no tool that nbdiffuse knows left a text in it"
        raise FileError(f"{shown} does not say how it was made: {line}. It may have been stripped when it was shared.")
    try:
        return _theirs(tool, parse(text))
    except ValueError as error:
        raise FileError(f"{shown} cannot be understood: its text from {tool} is {_reason(error)}.") from None


def _reason(error: ValueError) -> str:
    # A reader of JSON tells the position, and no more is of use to anybody.
    return "no JSON" if "line" in str(error) and "column" in str(error) else visible(str(error))[:100]


def _ours(provenance: Provenance) -> Reading:
    recipe = provenance.recipe
    notices: tuple[str, ...] = ()
    if provenance.chain is not None and len(provenance.chain) > 1:
        count = len(provenance.chain)
        notices = (f"It is the last of a chain of {count} steps: `nbdiffuse.replay(FILE)` runs all of them.",)
    if provenance.partial is not None:
        notices += (f"The run was stopped after {provenance.partial} steps; the recipe runs all of them.",)
    return Reading(OURS, recipe, (), notices, provenance, recipe.image is not None)


def _writer(found: Metadata) -> tuple[str, Callable[[str], Parsed], str]:
    """Return which tool wrote a text, what reads it, and the text; an empty one where there is none."""
    others, parameters = found.others, found.parameters or ""
    if "fooocus_scheme" in others:
        return "Fooocus", fooocus.parse, parameters
    for name, tool, parse in (
        ("invokeai_metadata", "InvokeAI", invokeai.parse),
        ("sd-metadata", "InvokeAI 2", invokeai.parse_older),
    ):
        if name in others:
            return tool, parse, others[name]
    if parameters:
        # Nodes of ComfyUI may write it too, beside the graph: it is what its author chose to say.
        entries = a1111.entries(parameters)
        if entries.get("Version", "").startswith("Fooocus"):
            return "Fooocus", fooocus.parse, parameters
        return ("SD.Next" if entries.get("App") == "SD.Next" else "AUTOMATIC1111"), a1111.parse, parameters
    return "ComfyUI", comfyui.parse, others.get("prompt", "")


def _theirs(tool: str, parsed: Parsed) -> Reading:
    values, left = dict(parsed.values), list(parsed.left_out)
    starts = "strength" in values
    trial = Recipe(**{**values, "image": _MISSING if starts else None})
    preset = preset_of(trial.model)
    taken = ALWAYS | set(preset.defaults_for(way(trial))) | {*names_of("controlnets"), *names_of("loras")}
    for name in [name for name in values if name not in taken]:
        left.append(f"Not carried over: {name}: {str(values.pop(name))[:80]!r}, {preset.name} does not take it.")
    if starts and values.get("width") and values.get("height"):
        left.append(
            f"Size of the result there: {values.pop('width')}x{values.pop('height')}; here it follows the initial picture."
        )
    hints = dict.fromkeys(dialects.hint(dialects.NONE, values.get(name) or "") for name in ("prompt", "negative_prompt"))
    notices = [line for line in hints if line and "weighting" not in values]
    if "seed" in values:
        notices.append(_OTHER_NOISE)
    if starts:
        notices.append(f"The file does not hold the initial picture: put it into `{WORDS['image']}` before the cell runs.")
    recipe = Recipe(**values)
    return Reading(tool, recipe, tuple(left), tuple(notices), None, starts)

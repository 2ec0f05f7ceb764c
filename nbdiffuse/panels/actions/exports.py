"""Exports of a panel: a cell, a program, or a file with its recipe inside."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cells.variables import expression, find_picture, name_of
from ...cells.write import cell_text, chain_text
from ...errors import FileError, NbdiffuseError
from ...files.atomic import write_atomic
from ...images.contact_sheets import png_bytes
from ...images.latents import Latents
from ...images.masks import stands_for
from ...images.picture import Picture
from ...recipes.chain import Chain
from ...recipes.recipe import Recipe
from ...results import Result
from ...runs.chain_run import ChainRun
from ...runs.program import script_of

_LONGEST_STEM = 60
"""Letters of a picture's label that its file is called by; a letter may take four of the 255 bytes that a name has."""


def program_of(what: Recipe | Chain | ChainRun) -> tuple[str, list[str]]:
    """Write a complete recipe or a chain as a plain diffusers program that gives its pixels.

    Returns
    -------
    text
        The program; the pictures that it opens are written into the working directory.
    lines
        What a person should know: the files that were written.

    Raises
    ------
    FileError
        A picture cannot be written.
    """
    script = script_of(what)
    for name, picture in script.pictures.items():
        try:
            write_atomic(Path(name), png_bytes(picture))
        except OSError as error:
            raise FileError(f"{name} cannot be written: {error.strerror or error}.") from None
    return script.text, [f"it opens {name}" for name in script.pictures]


def cell_of(recipe: Recipe, typed: Mapping[str, str | None], names: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Write a recipe as a cell, with words for its pictures that mean these very pixels.

    Parameters
    ----------
    recipe
        Complete or not.
    typed
        For each picture, by field, the variable or file that it was named by, or None.
    names
        The notebook's variables.

    Returns
    -------
    text
        The cell; a picture that no variable holds and no file was named for is
        written beside the notebook first, so that the cell still runs after a restart.
    lines
        What a person should know: the files that were written.

    Raises
    ------
    FileError
        A picture cannot be written.
    """
    words, said = _words_of(recipe, typed, names)
    return cell_text(recipe, words, _expressions(words, names)), said


def chain_cell_of(chain: Chain, typed: Sequence[Mapping[str, str | None]], names: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Write a chain as a cell; `typed` is for each step, and the rest as for `cell_of`."""
    found = [_words_of(step, words, names) for step, words in zip(chain, typed, strict=True)]
    words = [step_words for step_words, _ in found]
    text = chain_text(chain, words, [_expressions(step_words, names) for step_words in words])
    return text, [line for _, said in found for line in said]


def _words_of(recipe: Recipe, typed: Mapping[str, str | None], names: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    words: dict[str, str] = {}
    said: list[str] = []
    for name, held in recipe.pictures.items():
        picture = held.view if isinstance(held, Latents) else held
        word = typed.get(name)
        if word is None or not _means(word, picture, names):
            word = name_of(picture, names)
        if word is None:
            word, new = _written(picture)
            said += [f"{name} is saved as {word}"] if new else []
        words[name] = word
    return words, said


def _expressions(words: Mapping[str, str], names: Mapping[str, Any]) -> dict[str, str]:
    return {name: expression(word, names) for name, word in words.items()}


def file_of(result: Result) -> tuple[str, bytes]:
    """Return a name and the content of a PNG with a result's recipe inside."""
    with tempfile.TemporaryDirectory() as folder:
        content = result.save(Path(folder) / "result.png").read_bytes()
    return f"{result.recipe.model}-seed{result.recipe.seed}-{result.recipe.digest[:6]}.png", content


def _means(word: str, picture: Picture, names: Mapping[str, Any]) -> bool:
    try:
        return stands_for(find_picture(word, names), picture)
    except NbdiffuseError:
        return False


def _written(picture: Picture) -> tuple[str, bool]:
    """Write a picture into the working directory, or find it there; return the file's name, and whether it is new."""
    stem = re.sub(r"[^\w-]+", "-", Path(picture.label).stem).strip("-")[:_LONGEST_STEM] or "picture"
    for number in range(1, 1000):
        name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        if Path(name).exists():
            if _means(name, picture, {}):
                return name, False
            continue
        try:
            write_atomic(Path(name), png_bytes(picture.image))
        except OSError as error:
            raise FileError(f"{name} cannot be written: {error.strerror or error}.") from None
        return name, True
    raise FileError(f"{stem}.png cannot be written: there are a thousand of that name. Clear the folder up.")

"""Textual inversions in a prompt: `embedding:name` and a file's bare name become the word that its vectors stand for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.embedding_file import own_token
from ..files.by_name import file_named
from ..files.paths import here
from ..prompts.extras import embeddings, without
from .fields import numbered
from .lora import JOINT
from .recipe import PROMPTS, Recipe
from .textual_inversion import SUFFIXES, TextualInversion

FOLDER = "NBDIFFUSE_EMBEDDING_DIR"
"""Environment variable that names a folder with textual inversions; those in its subfolders are found too."""
PLACE = f"put it into the working directory or into the folder that {FOLDER} names"


def find(name: str) -> str | None:
    """Return the textual inversion's file that a name stands for, as a recipe's `embedding` says it, or None.

    Parameters
    ----------
    name
        Of the file, with or without its suffix. It is compared with the names that are there
        and never becomes part of a path, so a prompt reaches no other file.
    """
    return file_named(_plain(name), FOLDER, SUFFIXES)


def applied(recipe: Recipe) -> Recipe:
    """Fill in the words of a recipe's textual inversions, and put them where its prompts name the files.

    `embedding:name` that names no file here stays as it is; `notices` says that it is read as words.

    Raises
    ------
    ParameterError
        Two of them have the same word.
    """
    held = [*recipe.embeddings, *(TextualInversion(file=file) for file in _named(recipe))]
    if not held:
        return recipe
    known = [_with_token(one) for one in held]
    for number, one in enumerate(known, start=1):
        if one.token is not None and one.token in [other.token for other in known[: number - 1]]:
            field = numbered("embedding", number)
            way_out = f"Name another behind the file: {one.file}:MY-WORD."
            raise ParameterError(breaks_rule(field, "called by a word of its own", one.token, way_out))
    changes: dict[str, Any] = {"embeddings": tuple(known)} if tuple(known) != recipe.embeddings else {}
    for name in PROMPTS:
        text = recipe.get(name)
        if text and (made := _called(text, held, known)) != text:
            changes[name] = made
    return recipe.replace(**changes) if changes else recipe


def carried(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Find the textual inversions that another tool's prompts name, and take out those that are not here.

    Returns
    -------
    The fields, with `embedding` for those that are here, and a line for each name that was taken out.
    """
    moved, lines = dict(values), list[str]()
    files = moved["embedding"].split(JOINT) if moved.get("embedding") else []
    for field in PROMPTS:
        for text in embeddings(moved.get(field) or ""):
            file = find(text.partition(":")[2])
            if file is None:
                moved[field] = without(moved[field], text)
                lines.append(f"Taken out of `{field}`: {text[:80]!r}, no such file is here; {PLACE}.")
            elif file not in files:
                files.append(file)
    return (moved | {"embedding": JOINT.join(files)} if files else moved), lines


def _named(recipe: Recipe) -> list[str]:
    """Return the files that the prompts name and `embedding` does not."""
    texts = (text for field in PROMPTS for text in embeddings(recipe.get(field) or ""))
    names = dict.fromkeys(text.partition(":")[2] for text in texts)
    known = {one.stem for one in recipe.embeddings} | {one.token for one in recipe.embeddings}
    found = (find(name) for name in names if _plain(name) not in known)
    return [file for file in found if file is not None]


def _with_token(one: TextualInversion) -> TextualInversion:
    path = here(one.file)
    if one.token is not None or path is None or not path.is_file():
        return one  # The file that a folder or a repository holds is looked for when it is loaded.
    word = re.sub(r"[\s:,|{}=]+", "-", own_token(path))[:100]
    return dataclasses.replace(one, token=word)


def _called(text: str, held: Sequence[TextualInversion], known: Sequence[TextualInversion]) -> str:
    """Return a prompt that calls textual inversions by their words."""
    for named in embeddings(text):
        name = _plain(named.partition(":")[2])
        token = next((one.token for one in known if name in (one.token, one.stem) and one.token), None)
        text = text.replace(named, token) if token else text
    for before, one in zip(held, known, strict=True):
        if before.token is None and one.token and one.token != one.stem:
            text = re.sub(rf"(?<![\w-]){re.escape(one.stem)}(?![\w-])", one.token.replace("\\", r"\\"), text)
    return text


def _plain(name: str) -> str:
    """Return the name of a file without folders and suffix, however it is written."""
    file = PureWindowsPath(name).name
    suffix = next((one for one in SUFFIXES if file.endswith(one)), "")
    return file.removesuffix(suffix)


def unused(recipe: Recipe) -> tuple[str, ...]:
    """Return the words of a complete recipe's textual inversions that stand in none of its prompts."""
    texts = [recipe.get(name) or "" for name in PROMPTS]
    words = (one.token for one in recipe.embeddings if one.token)
    return tuple(word for word in words if not any(word.lower() in text.lower() for text in texts))

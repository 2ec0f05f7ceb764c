"""Manifest: a note in a batch's folder of what it is made with, so that the same batch goes on there and no other does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FileError, ParameterError, breaks_rule
from ..files.atomic import write_atomic
from ..files.targets import check_folder, made_folder, shown_path
from ..recipes.recipe import Recipe

FILE = "batch.json"
FORMAT = 1


def settled(recipe: Recipe, folder: Path, files: Sequence[str], noted: Mapping[str, Any] | None = None) -> Recipe:
    """Return a batch's recipe with its seed: that of the batch which the folder has, else one that is drawn.

    Parameters
    ----------
    recipe
        What all rows have in common; its seed may be open.
    folder
        Where results go; need not be there.
    files
        Relative paths of the results.
    noted
        What else the batch is made with, for JSON.

    Raises
    ------
    ParameterError
        The folder has another batch's results, or files that this one would replace.
    FileError
        Nothing can be written there.
    """
    check_folder(folder)
    text = _read(folder)
    if text is None:
        there = next((file for file in files if (folder / file).exists()), None)
        if there is not None:
            rule = f"a folder without {there}, which would be replaced"
            raise ParameterError(breaks_rule("folder", rule, str(folder), "Choose another one."))
        return recipe if recipe.seed is not None else recipe.replace(seed=secrets.randbelow(2**32))
    kept, seed, kept_noted = text
    if kept != _open_text(recipe) or kept_noted != dict(noted or {}) or (recipe.seed is not None and recipe.seed != seed):
        way_out = "Choose another folder; the one that is there goes on with the options that it began with."
        raise ParameterError(breaks_rule("folder", "a folder without another batch", str(folder), way_out))
    return recipe.replace(seed=seed)


def write(recipe: Recipe, folder: Path, noted: Mapping[str, Any] | None = None) -> None:
    """Note a batch's recipe, whose seed is set, in its folder; parameters as for `settled`.

    Raises
    ------
    FileError
        It cannot be written.
    """
    made_folder(folder)
    known: dict[str, Any] = {"format": FORMAT, "recipe": json.loads(_open_text(recipe)), "seed": recipe.seed}
    content = json.dumps({**known, **({"with": dict(noted)} if noted else {})}, indent=1)
    try:
        write_atomic(folder / FILE, content.encode())
    except OSError as error:
        raise FileError(f"{shown_path(folder / FILE)} cannot be written: {error.strerror or error}.") from None


def _open_text(recipe: Recipe) -> str:
    return recipe.replace(seed=None).to_json()


def _read(folder: Path) -> tuple[str, int, Any] | None:
    """Return the recipe without its seed, as text, the seed, and what else was noted; None where no batch is there."""
    try:
        held = json.loads((folder / FILE).read_text("utf-8"))
        seed, noted = held["seed"], held.get("with", {})
        text = json.dumps(held["recipe"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        seed, noted, text = None, {}, ""
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ParameterError(breaks_rule("folder", f"a folder whose {FILE} can be read", str(folder), "Choose another folder."))
    return text, seed, noted

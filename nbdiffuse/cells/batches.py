"""Many pictures in a cell: a folder, an archive, a pattern, a list, a table or a film in the place of one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..batches.film_writer import WRITTEN
from ..batches.films import is_animation, is_film
from ..batches.sources import is_several
from ..batches.tables import is_table
from ..errors import ParameterError, breaks_rule
from ..files.paths import path_of
from .flags import flag
from .variables import named_value

MAKES_MANY = ("table", "prompts", "wildcards", "captioner", "frames", "carry", "seed_every", "noise_walk", "motion_adapter")
"""Options that make a cell one about many pictures."""
OPTIONS = (*MAKES_MANY, "rate", "on_error")
"""Options of a cell about many pictures."""


def many_in(word: Any, known: Any, save: str | None, variables: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what `batch` is to be called with where a cell is about many pictures, or None where it is about one or none.

    Parameters
    ----------
    word
        What stands after the magic: a text, a picture, or None.
    known
        Has what each of `OPTIONS` says, or None, as attributes.
    save
        What `--save` says: a film's name makes a film, where there are many pictures.
    variables
        The notebook's, by name.

    Raises
    ------
    ParameterError
        What is given does not go together, or there is no such variable.
    """
    given = {name: getattr(known, name) for name in OPTIONS if getattr(known, name) is not None}
    if "table" in given and word is not None:
        raise ParameterError(breaks_rule("--table", "given without a picture", word, "The table's column `image` names them."))
    values = {name: _number(name, named_value(flag(name), text, variables)) for name, text in given.items()}
    found = _named(word, variables)
    suffix = Path(save or "").suffix.lower()
    # An animation is one picture, its first, where nothing says that it is a film.
    makes_film = suffix in WRITTEN and is_animation(word)
    if found is None and not makes_film and not any(name in given for name in MAKES_MANY):
        if alone := next((name for name in ("on_error", "rate") if name in given), None):
            raise ParameterError(f"`{flag(alone)}` must go with many pictures, got one. Leave it out.")
        return None
    if found is None and word is not None:
        found = {"images": word if isinstance(word, str) and is_animation(word) else [_held(word, variables)]}
    film = {"film": save} if suffix in WRITTEN else {}
    return {**(found or {}), **values, **film}


def _number(name: str, value: Any) -> Any:
    """Return an option's value as the number that it is; what is none is refused by `batch`."""
    kind = {"carry": float, "rate": float, "seed_every": int, "noise_walk": int}.get(name)
    if kind is None or not isinstance(value, str):
        return value
    try:
        return kind(value)
    except ValueError:
        raise ParameterError(breaks_rule(flag(name), "a whole number" if kind is int else "a number", value)) from None


def _named(word: Any, variables: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the pictures or the table that one word stands for, or None for one picture."""
    if not isinstance(word, str):
        return None
    held = (variables or {}).get(word) if word.isidentifier() else None
    if is_table(held):
        return {"table": held}
    if isinstance(held, (list, tuple)):
        return {"images": held}
    if held is not None and not isinstance(held, os.PathLike):
        return None
    word = word if held is None else os.fspath(held)
    if is_table(word) and Path(word).exists():
        return {"table": word}
    return {"images": word} if is_several(word) or is_film(word) else None


def _held(word: Any, variables: Mapping[str, Any] | None) -> Any:
    held = (variables or {}).get(word) if isinstance(word, str) and word.isidentifier() else None
    return word if held is None else held


def folder_for(many: Mapping[str, Any], save: str | None, task: str) -> str | None:
    """Return where a batch's results go: where `--save` says, beside the pictures, or None for beside the film."""
    return None if "film" in many else save or default_folder(many, task)


def default_folder(many: Mapping[str, Any], task: str) -> str:
    """Return where a batch's results go when nobody says it: beside the pictures, such as "photos-img2img"."""
    named = next((many[name] for name in ("images", "table", "prompts") if isinstance(many.get(name), (str, Path))), None)
    if named is None:
        return f"pictures-{task}"
    path = path_of(named, "image")
    folder = path if path.is_dir() else path.with_suffix("") if path.is_file() else _above_pattern(path)
    name = folder.name or folder.resolve().name
    return str(folder.parent / f"{name or 'pictures'}-{task}") if folder.name else f"{name or 'pictures'}-{task}"


def _above_pattern(path: Path) -> Path:
    """Return the folder that a pattern such as "shots/*.png" starts from."""
    plain = [part for part in path.parent.parts if not any(mark in part for mark in "*?[")]
    return Path(*plain)

"""The flags of a magic's line: how a field is written there, and what takes the line apart."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import ParameterError
from ..families.parameters import Param
from ..recipes.fields import OF_PARTS, SINGLE, names_of, numbered
from ..recipes.recipe import PARAMS, shown_name

NOT_OPTIONS = ("prompt", "image")
"""Fields that stand elsewhere in a cell."""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are this package's own errors."""

    def error(self, message: str) -> NoReturn:
        missing = re.fullmatch(r"argument (\S+): expected one argument", message)
        if missing:
            raise ParameterError(f"`{missing[1].split('/')[0]}` must be followed by a value, got none.")
        raise ParameterError(message[:1].upper() + message[1:] + ".")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does; an option whose value is `--`, of which some versions make a list, is refused."""
        known, rest = super().parse_known_args(args, namespace)
        for name, value in vars(known).items():
            if isinstance(value, list):
                raise ParameterError(f"`{flag(name)}` must be followed by a value, got '--'.")
        return known, rest


def flag(name: str) -> str:
    """Return a field's long option, such as `--guidance-scale`."""
    return "--" + name.replace("_", "-")


def fields_of(task: str) -> dict[str, Param]:
    """Return the declarations that a task takes as options."""
    unwanted = {*NOT_OPTIONS} | ({"strength"} if task == "txt2img" else set())
    return {name: param for name, param in PARAMS.items() if name not in unwanted}


class _FieldAction(argparse.Action):
    """Collect fields with their texts in `namespace.fields`, in the order in which they were typed."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None) -> None:
        typed: dict[str, str] = namespace.fields
        name = _for_newest_part(shown_name(self.dest), typed)
        if name in typed:
            raise ParameterError(f"`{option}` must be given once, got {typed[name]!r} and {values!r}. Leave one out.")
        typed[name] = values


def _for_newest_part(name: str, typed: Mapping[str, str]) -> str:
    """Return a field's name for the part that its option is about: `--controlnet` begins one, `--control-image` belongs to it."""
    place = OF_PARTS.get(name)
    if place is None or place.part in SINGLE:
        return name
    number = 1
    while any(one in typed for one in names_of(place.part, number + 1)):
        number += 1
    begins = names_of(place.part)[0] == name and numbered(name, number) in typed
    return numbered(name, number + 1 if begins else number)


def parser_of(task: str, words: Sequence[str] = ()) -> Parser:
    """Return what reads the fields that a task takes into `fields`, and `--out` and `--save`.

    Parameters
    ----------
    task
        "img2img" or "txt2img".
    words
        Of the line; a field that is named there by its place, such as `--controlnets.2.scale`, or
        that only a family's call declares, is read as well.
    """
    parser = Parser(prog=f"%%{task}", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.set_defaults(fields={})
    known = fields_of(task)
    named = [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")]
    others = {name: PARAMS[name] for name in named if name not in known and name not in NOT_OPTIONS and name in PARAMS}
    for name, param in {**known, **others}.items():
        names = [flag(name)] + ([flag(name).replace("-", "_").replace("__", "--", 1)] if "_" in name else [])
        parser.add_argument(*names, *([param.short] if param.short else []), dest=name, action=_FieldAction)
    parser.add_argument("--out")
    parser.add_argument("--save")
    return parser


def words_of(line: str) -> list[str]:
    """Split a line into its words as a shell does.

    Raises
    ------
    ParameterError
        A quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ParameterError(f"The line cannot be read: {str(error).lower()}. Close the quotes.") from None

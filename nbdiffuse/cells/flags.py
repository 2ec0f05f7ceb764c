"""The flags of a magic's line: how a field is written there, and what takes the line apart."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any, NoReturn

from ..errors import ParameterError
from ..recipes.parameters import Param
from ..recipes.recipe import PARAMS


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
    unwanted = {"prompt", "image"} | ({"strength"} if task == "txt2img" else set())
    return {name: param for name, param in PARAMS.items() if name not in unwanted}


def parser_of(task: str) -> Parser:
    """Return what reads the fields that a task takes, `--out` and `--save`."""
    parser = Parser(prog=f"%%{task}", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    for name, param in fields_of(task).items():
        names = [flag(name)] + ([flag(name).replace("-", "_").replace("__", "--", 1)] if "_" in name else [])
        parser.add_argument(*names, *([param.short] if param.short else []), dest=name)
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

"""Python source as text: literals, calls and imports, laid out as `ruff format` leaves them."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule

WIDTH = 88
"""Columns of a line, ruff's own default."""
_STANDARD = ("functools", "itertools", "importlib.util", "pathlib", "typing")


def literal(value: Any) -> str:
    """Write a number, a text, None, or a tuple, list or table of these; a text is always one literal, whatever it holds.

    Raises
    ------
    ParameterError
        It is something else, or a number that no literal says.
    """
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(name)}: {literal(one)}' for name, one in value.items())}}}"
    if not isinstance(value, str):
        if not (value is None or type(value) in (bool, int) or (type(value) is float and math.isfinite(value))):
            raise ParameterError(breaks_rule("program", "made of numbers, texts, and lists of them", value))
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    # `repr` of one character escapes what is not printable, direction marks included.
    inner = "".join(f"\\{quote}" if char == quote else repr(char)[1:-1] for char in str(value))
    return f"{quote}{inner}{quote}"


def identifier(name: str) -> str:
    """Return a name that stands in source as it is.

    Raises
    ------
    ParameterError
        It is no identifier, or a word of the language.
    """
    if not (isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)):
        raise ParameterError(breaks_rule("program", "made of names that Python has", name))
    return name


def one_line(comment: str) -> str:
    """Return a comment that ends with its line, whatever it holds."""
    return "".join(char if char.isprintable() else " " for char in comment)


def call(head: str, arguments: Iterable[str], tail: str = "", indent: str = "") -> list[str]:
    """Write a call on one line where it fits, else with an argument on each line.

    Parameters
    ----------
    head
        What stands before the bracket, such as `image = pipeline`.
    arguments
        Each as source; one with a comment behind it puts all on lines of their own.
    tail
        What stands behind the bracket, such as `.images[0]`.
    indent
        Blanks before every line.
    """
    given = list(arguments)
    line = f"{indent}{head}({', '.join(given)}){tail}"
    if len(line) <= WIDTH and not any("  # " in one for one in given):
        return [line]
    return exploded(head, given, tail, indent)


def exploded(head: str, arguments: Iterable[str], tail: str = "", indent: str = "") -> list[str]:
    """Write a call with an argument on each line."""
    return [f"{indent}{head}(", *(f"{indent}    {_with_comma(one)}" for one in arguments), f"{indent}){tail}"]


def _with_comma(argument: str) -> str:
    source, mark, comment = argument.rpartition("  # ") if "  # " in argument else (argument, "", "")
    return f"{source},{mark}{comment}"


def import_block(modules: Iterable[str], names: Mapping[str, Iterable[str]]) -> list[str]:
    """Write imports in ruff's order.

    Parameters
    ----------
    modules
        Imported whole.
    names
        For each module what is imported from it.
    """
    groups = []
    for standard in (True, False):
        whole = [f"import {one}" for one in sorted(modules) if (one in _STANDARD) is standard]
        part: list[str] = []
        for module in sorted(names, key=str.lower):
            if (module in _STANDARD) is standard and names[module]:
                part += _import_from(module, sorted(names[module], key=_place))
        groups.append([*whole, *part])
    return [*groups[0], *([""] if all(groups) else []), *groups[1]]


def _place(name: str) -> tuple[bool, bool, str]:
    """Order as isort does: CONSTANTS, Classes, then the rest, each without regard to case."""
    return not name.isupper(), not name[0].isupper(), name.lower()


def _import_from(module: str, names: list[str]) -> list[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return [line]
    return [f"from {module} import (", *(f"    {name}," for name in names), ")"]

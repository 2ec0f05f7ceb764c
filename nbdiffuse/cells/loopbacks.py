"""A loopback's cell as values: the loop's own options, and a cell of `%%img2img` for the rest."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError, breaks_rule
from .flags import LOOP_OPTIONS, Parser, flag, words_of
from .options import Cell, parse_cell
from .variables import named_value


def parse_loopback(line: str, body: str, variables: Mapping[str, Any] | None = None) -> tuple[Cell, dict[str, Any]]:
    """Read a cell of `%%loopback`: what `%%img2img` would read, and the loop's own values.

    Raises
    ------
    ParameterError
        An option is unknown, given twice or has several values, or a value is no number.
    """
    parser = Parser(prog="%%loopback")
    for name in LOOP_OPTIONS:
        parser.add_argument(flag(name))
    known, rest = parser.parse_known_args(words_of(line))
    cell = parse_cell("img2img", shlex.join(rest), body, variables, magic="%%loopback", others=tuple(LOOP_OPTIONS))
    if cell.many is not None:
        raise ParameterError("`image` must be one picture in a loopback, got many. Use %%img2img for a folder or a table.")
    if cell.num_images_per_prompt is not None:
        raise ParameterError("`num_images_per_prompt` must be left out of a loopback: each pass redraws one picture.")
    if cell.axes:
        raise ParameterError(f"`{next(iter(cell.axes))}` must have one value in a loopback, got several.")
    typed = {name: named_value(flag(name), value, variables) for name, value in vars(known).items() if value is not None}
    given = {name: value for name, value in typed.items() if value is not None}
    for name, kind in (("passes", int), ("final_strength", float)):
        if isinstance(given.get(name), str):
            try:
                given[name] = kind(given[name])
            except ValueError:
                noun = "a whole number" if kind is int else "a number"
                raise ParameterError(breaks_rule(flag(name), noun, given[name])) from None
    return cell, given


LOOP_HELP = """Redraw a picture again and again from its own result.

    %%loopback PICTURE [options of %%img2img]
    the prompt

""" + "\n".join(f"  {flag(name):<28} {text}" for name, text in LOOP_OPTIONS.items())

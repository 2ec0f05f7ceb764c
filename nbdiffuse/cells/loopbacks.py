"""A loopback's cell as values: the loop's own options, and a cell of `%%img2img` for the rest."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from ..errors import ParameterError, breaks_rule
from .flags import Parser, flag, words_of
from .options import Cell, parse_cell

LOOP_OPTIONS = {
    "passes": "how often the picture is redrawn; 4",
    "final_strength": "strength of the last pass; the first one's",
    "curve": "how the strength goes there: linear, aggressive or lazy",
    "color_correction": "lab holds the colours of the first picture; none",
}
"""What `%%loopback` takes besides the options of `%%img2img`."""


def parse_loopback(line: str, body: str) -> tuple[Cell, dict[str, Any]]:
    """Read a cell of `%%loopback`: what `%%img2img` would read, and the loop's own values.

    Raises
    ------
    ParameterError
        An option is unknown or has several values, or a value is no number.
    """
    parser = Parser(prog="%%loopback", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    for name in LOOP_OPTIONS:
        parser.add_argument(flag(name))
    known, rest = parser.parse_known_args(words_of(line))
    cell = parse_cell("img2img", shlex.join(rest), body)
    if cell.axes:
        raise ParameterError(f"`{next(iter(cell.axes))}` must have one value in a loopback, got several.")
    given = {name: value for name, value in vars(known).items() if value is not None}
    for name, kind in (("passes", int), ("final_strength", float)):
        if name in given:
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

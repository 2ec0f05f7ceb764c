"""Alternatives in a prompt: `{jungle|desert|snow}`, and whole prompts between bars."""

from __future__ import annotations

import itertools
import math
import re

from ..errors import ParameterError, breaks_rule

MAX_VALUES = 1000
"""Values that one option may have."""
_TOKEN = re.compile(r"\\[\\{}|]|[{}|]|[^\\{}|]+|\\")


def alternatives(text: str, name: str = "prompt") -> tuple[str, ...]:
    """Expand `{jungle|desert|snow}` in a prompt; several groups give every combination.

    A brace without a bar is text, and so are `\\{`, `\\|`, `\\}`; an alternative may
    be empty.

    Returns
    -------
    tuple of str
        The prompts, the last group changing fastest; one if there is no group.

    Raises
    ------
    ParameterError
        A group is not closed, stands in another, or there are more than `MAX_VALUES`.

    Examples
    --------
    >>> alternatives("a {red|blue} car")
    ('a red car', 'a blue car')
    """
    return expanded(name, text, bars=False)


def escaped(text: str) -> str:
    """Return a prompt as it must be typed to be taken as it is: `alternatives(escaped(text)) == (text,)`."""
    return re.sub(r"\\(?=[\\{}|])|[{}|]", lambda found: "\\" + found[0], text)


def expanded(name: str, text: str, *, bars: bool) -> tuple[str, ...]:
    """Expand groups, and with `bars` also split at bars outside of them; see `alternatives`."""
    wholes: list[list[tuple[str, ...]]] = [[]]
    group: list[str] | None = None
    for token in _TOKEN.findall(text):
        if token == "{":
            if group is not None and len(group) > 1:
                raise ParameterError(breaks_rule(name, "text whose {a|b} do not stand in one another", text, "Take one out."))
            wholes[-1] += [("{" + group[0],)] if group is not None else []
            group = [""]
        elif token == "}" and group is not None:
            wholes[-1].append(tuple(part.strip() for part in group) if len(group) > 1 else ("{" + group[0] + "}",))
            group = None
        elif token == "|" and (group is not None or bars):
            (wholes if group is None else group).append([] if group is None else "")  # type: ignore[arg-type]
        else:
            literal = token[1:] if len(token) == 2 and token[0] == "\\" else token
            if group is None:
                wholes[-1].append((literal,))
            else:
                group[-1] += literal
    if group is not None:
        if len(group) > 1:
            raise ParameterError(breaks_rule(name, "text whose every {a|b} is closed", text, "Add the brace, or write \\{."))
        wholes[-1].append(("{" + group[0],))
    if sum(math.prod(map(len, pieces)) for pieces in wholes) > MAX_VALUES:
        raise ParameterError(breaks_rule(name, f"at most {MAX_VALUES} alternatives", text, "Take some out."))
    found = ("".join(choice) for pieces in wholes for choice in itertools.product(*pieces))
    return tuple(whole.strip() if len(wholes) > 1 else whole for whole in found)

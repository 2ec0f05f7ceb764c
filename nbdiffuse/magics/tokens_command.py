"""The command `%diffuse tokens`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..families.aliases import advice
from ..recipes.recipe import Recipe
from ..sessions.session import get_session

if TYPE_CHECKING:
    from ..prompts.tokens import TokenView

_TOKENS_OPTION = re.compile(r"""--(weighting|model|negative-prompt)(?:=|\s+)(?:"([^"]*)"|'([^']*)'|(\S+))\s*""")


def tokens(line: str, names: Mapping[str, Any]) -> TokenView:
    """Show the tokens of what follows `%diffuse tokens`.

    Parameters
    ----------
    line
        Options, then the prompt as it is, or a name.
    names
        What names stand for: a result, a recipe, or anything with a `recipe`.

    Raises
    ------
    ParameterError
        There is no prompt, or an option breaks its rule.
    """
    text = line.strip()
    given: dict[str, str] = {}
    while option := _TOKENS_OPTION.match(text):
        field = option[1].replace("-", "_")
        value = option[2] or option[3] or option[4] or ""
        if field in given:
            raise ParameterError(f"`--{option[1]}` must be given once, got {given[field]!r} and {value!r}. Leave one out.")
        given[field] = value
        text = text[option.end() :]
    if not text:
        raise ParameterError("`%diffuse tokens` must be followed by a prompt or the name of a result, got nothing.")
    if text.startswith("--"):
        known = {name: "--" + name.replace("_", "-") for name in ("weighting", "model", "negative_prompt")}
        way_out = advice(text.split()[0], known, f"Known: {', '.join(known.values())}.")
        raise ParameterError(f"{text.split()[0]!r} is not an option of %diffuse tokens. {way_out}")
    held = names.get(text) if text.isidentifier() else None
    recipe = getattr(held, "recipe", held)
    base = recipe if isinstance(recipe, Recipe) else Recipe(prompt=text)
    return get_session().tokens(base.replace(**given))

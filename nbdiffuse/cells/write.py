"""Transcripts: a recipe or a chain written as the cell that a person would type for it."""

from __future__ import annotations

import ast
import keyword
import re
import shlex
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.core.inputtransformer2 import TransformerManager

from ..errors import NbdiffuseError, ParameterError
from ..images.picture import Picture
from ..prompts.alternatives import escaped
from ..recipes.chain import Chain
from ..recipes.fields import first_name, numbered
from ..recipes.preset import TASKS
from ..recipes.presets import EDIT, preset_of
from ..recipes.recipe import PARAMS, Recipe
from .chains import parse_chain
from .flags import flag
from .options import parse_cell

_NOT_TYPED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x85\u2028\u2029]|\n +\n")
"""What an editor or IPython does not keep as it is: control characters, and lines of blanks alone."""


def cell_text(recipe: Recipe, words: Mapping[str, str], expressions: Mapping[str, str] | None = None) -> str:
    """Write a recipe as a cell.

    Parameters
    ----------
    recipe
        Complete or not; what is open stays open.
    words
        For each of its pictures, by field, what stands for it on a magic's line: the
        name of a variable, or a file.
    expressions
        The same as Python; the words as names or texts when not given.

    Returns
    -------
    str
        A cell of `%%img2img`, `%%txt2img` or `%%edit` that `options.parse_cell` reads as this
        very recipe; where the magic has no way to say it, such as a prompt with tabs
        in it, a cell of Python that makes it.
    """
    for negative_in_body in (True, False):
        text = _magic(recipe, words, negative_in_body)
        if _round_trips(text, recipe, words):
            return text
    return _python(_call(recipe, words, expressions or {}))


def chain_text(chain: Chain, words: Sequence[Mapping[str, str]], expressions: Sequence[Mapping[str, str]] = ()) -> str:
    """Write a chain as a cell.

    Parameters
    ----------
    chain
        Complete or not; what is open stays open.
    words, expressions
        For each step, as for `cell_text`.

    Returns
    -------
    str
        A cell of `%%chain` that `chains.parse_chain` reads as this very chain; where the
        magic has no way to say it, a cell of Python that makes it.
    """
    for negative_in_body in (True, False):
        text = _chain_magic(chain, words, negative_in_body)
        if _chain_round_trips(text, chain, words):
            return text
    given = expressions or ({},) * len(chain)
    calls = [_call(*one) for one in zip(chain, words, given, strict=True)]
    return _python("\n>> ".join(calls) if len(calls) > 1 else f"nbdiffuse.Chain(\n    (\n{indent(calls[0], ' ' * 8)},\n    )\n)")


def _magic(recipe: Recipe, words: Mapping[str, str], negative_in_body: bool) -> str:
    task = _task(recipe)
    pictures = ["image", *_references(recipe)] if task == "edit" else ["image"]
    start = [shlex.quote(words[name]) for name in pictures if name in words]
    model = [] if recipe.model == (EDIT if task == "edit" else Recipe().model) else [_option("model", recipe.model)]
    options, body = _options_and_body(recipe, words, negative_in_body, pictures)
    return " ".join([f"%%{task}", *start, *model, *options]) + "\n" + body


def _references(recipe: Recipe) -> list[str]:
    return [numbered("image_reference", number) for number in range(1, len(recipe.references) + 1)]


def _task(recipe: Recipe) -> str:
    try:
        return preset_of(recipe.model).task(recipe)
    except ParameterError:  # The cell itself says what is wrong with its model.
        return recipe.task


def _chain_magic(chain: Chain, words: Sequence[Mapping[str, str]], negative_in_body: bool) -> str:
    lines = [" ".join(["%%chain", *([shlex.quote(words[0]["image"])] if "image" in words[0] else [])])]
    for step, names in zip(chain, words, strict=True):
        options, body = _options_and_body(step, names, negative_in_body)
        lines += [f"[{' '.join([shlex.quote(step.model), *options])}]", body]
    return "\n".join(lines)


def _options_and_body(
    recipe: Recipe, words: Mapping[str, str], negative_in_body: bool, pictures: Sequence[str] = ("image",)
) -> tuple[list[str], str]:
    """Write everything but the model and the pictures that stand right after the magic."""
    options: list[str] = []
    body = escaped(recipe.prompt)
    for name, held in recipe.values().items():
        value = words.get(name, held)
        if name in ("prompt", "model", *pictures):
            continue
        if name == "negative_prompt" and negative_in_body and value:
            body += f"\nNegative prompt: {escaped(value)}"
            continue
        options.append(_option(name, value))
    return options, body


def _option(name: str, value: Any) -> str:
    typed, option = _typed(name, value), flag(first_name(name))
    # An option's value that begins with a dash would be read as an option.
    return f"{option}={shlex.quote(typed)}" if typed.startswith("-") else f"{option} {shlex.quote(typed)}"


def _typed(name: str, value: Any) -> str:
    if PARAMS[name].kind in (int, float):
        return repr(value).removesuffix(".0")
    if PARAMS[name].kind is bool:
        return str(value).lower()
    if name in ("prompt", "negative_prompt"):
        return escaped(value)
    return '"' + value.replace('"', '""') + '"' if "," in value and not PARAMS[name].bars else str(value)


def _round_trips(text: str, recipe: Recipe, words: Mapping[str, str]) -> bool:
    """Whether a cell is read as the recipe, and survives an editor and IPython."""
    heard = received(text)
    if _NOT_TYPED.search(text) or heard is None or heard[0] not in TASKS:
        return False
    try:
        read = parse_cell(*heard)
    except NbdiffuseError:
        return False
    return not read.axes and not read.notices and {"model": Recipe().model, **read.values} == _expected_values(recipe, words)


def _chain_round_trips(text: str, chain: Chain, words: Sequence[Mapping[str, str]]) -> bool:
    """The same for a cell of `%%chain`."""
    heard = received(text)
    if _NOT_TYPED.search(text) or heard is None or heard[0] != "chain":
        return False
    try:
        read = parse_chain(*heard[1:])
    except NbdiffuseError:
        return False
    meant = [_expected_values(step, names) for step, names in zip(chain, words, strict=True)]
    return not read.axes and not read.notices and list(read.steps) == meant


def received(cell: str) -> tuple[str, str, str] | None:
    """Return which magic IPython calls for a cell, with which line and body; None where it calls none.

    IPython itself is asked: it takes prompts such as `>>> ` off the beginning of lines, and a shell may
    have transformations of its own.
    """
    shell = get_ipython()
    manager = shell.input_transformer_manager if shell is not None else TransformerManager()
    try:
        (statement,) = ast.parse(manager.transform_cell(cell)).body
        # get_ipython().run_cell_magic(name, line, body)
        name, line, body = (ast.literal_eval(argument) for argument in statement.value.args)
    except Exception:  # what it became is no call, or a shell's own transformation failed
        return None
    return (name, line, body) if all(isinstance(part, str) for part in (name, line, body)) else None


def _expected_values(recipe: Recipe, words: Mapping[str, str]) -> dict[str, Any]:
    return {name: words[name] if isinstance(value, Picture) else value for name, value in recipe.values().items()}


def _python(made: str) -> str:
    return "\n".join(["import nbdiffuse", "", "nbdiffuse.run(", indent(made, "    "), ")"])


def _call(recipe: Recipe, words: Mapping[str, str], expressions: Mapping[str, str]) -> str:
    given = {name: word if _is_name(word) else repr(word) for name, word in words.items()}
    given |= expressions
    values = {name: given.get(name, repr(value)) for name, value in recipe.values().items()}
    fields = [f"    {name}={value}," for name, value in values.items() if name.isidentifier()]
    numbered = [f"{name!r}: {value}" for name, value in values.items() if not name.isidentifier()]
    return "\n".join(["nbdiffuse.Recipe(", *fields, *([f"    **{{{', '.join(numbered)}}},"] if numbered else []), ")"])


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)

"""The generation text of AUTOMATIC1111: written so that other tools read the essentials, read so that a paste works."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families import scheduler_names
from ..recipes.recipe import PARAMS, Recipe

SAMPLERS = scheduler_names.A1111
"""diffusers scheduler of each sampler; read in both directions."""

_FIELDS = {
    "Steps": "num_inference_steps",
    "CFG scale": "guidance_scale",
    "Seed": "seed",
    "Denoising strength": "strength",
    "Weighting": "weighting",
}
_SAME = {("RNG", "CPU"), ("Clip skip", "1"), ("Schedule type", "Automatic"), ("Schedule type", "Uniform")}
"""Entries that say what nbdiffuse does anyway."""
_NO_RECIPE = {"Version", "Model", "Model hash"}
"""Keys that need no word: they name a program and its checkpoint."""
# Anchored at commas: what it costs grows with the text, not with its square.
_PAIR = re.compile(r'(?:^|(?<=,))\s*(\w[\w \-/]*?):\s*("(?:\\.|[^\\"])*"(?=\s*(?:,|$))|[^,]*)\s*(?:,|$)')
_NUMBERS = {int: r"[+-]?\d{1,4000}", float: r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"}
_NEGATIVE = "Negative prompt:"
_OURS = "nbdiffuse"
_MOST_LINES = 20


@dataclass(frozen=True)
class Parsed:
    """What a text says.

    Parameters
    ----------
    values
        Recipe fields by name, checked; `prompt` is always among them.
    left_out
        One line for each entry that a recipe does not hold, and why; at most 20,
        and one that counts the others.
    """

    values: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def generation_text(recipe: Recipe, version: str, *, model_hash: str | None = None) -> str:
    """Write the generation text of a complete recipe.

    `parse` reads it back, even where the prompt's own last line looks like
    parameters, since only the last line of the whole text counts. The format itself
    has no way to say: a line of the prompt that begins "Negative prompt:" (what
    follows is read as negative), blank space around a prompt, Windows line ends, an
    empty negative prompt as opposed to none, the initial picture, and how it was fitted.

    Parameters
    ----------
    recipe
        Complete, see `completion.resolve`.
    version
        Of nbdiffuse.
    model_hash
        First 10 hexadecimal digits of the sha256 of the checkpoint's file, or None.

    Returns
    -------
    str
        The prompt, the negative prompt if there is one, a line of parameters.

    Raises
    ------
    ParameterError
        The recipe has no steps or no seed, so it is not complete.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/infotext_utils.py`, `processing.create_infotext`.
    """
    for name in ("num_inference_steps", "seed"):
        if getattr(recipe, name) is None:
            raise ParameterError(breaks_rule(name, PARAMS[name].rule, None, "Complete the recipe with `resolve`."))
    sampler = next((name for name, scheduler in SAMPLERS.items() if scheduler == recipe.scheduler), recipe.scheduler)
    entries: dict[str, Any] = {
        "Steps": recipe.num_inference_steps,
        "Sampler": sampler,
        "CFG scale": _number(recipe.guidance_scale),
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}" if recipe.width and recipe.height else None,
        "Model hash": model_hash,
        "Model": recipe.model,
        "Denoising strength": _number(recipe.strength),
        # The dialect that the prompts are written in, which the format itself takes to be its own.
        "Weighting": None if recipe.weighting == "none" else recipe.weighting,
        "RNG": "CPU",
        "Version": f"{_OURS} {version}".strip(),
    }
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in entries.items() if value not in (None, ""))
    negative = f"\n{_NEGATIVE} {recipe.negative_prompt}" if recipe.negative_prompt else ""
    return f"{recipe.prompt}{negative}\n{last}"


def _number(value: float | None) -> str | None:
    # The shortest text that reads back as the same number.
    return None if value is None else repr(value).removesuffix(".0")


def _quoted(value: str) -> str:
    needed = any(sign in value for sign in ',\n:"') or value != value.strip()
    return json.dumps(value, ensure_ascii=False) if needed else value


def parse(text: str) -> Parsed:
    """Read a prompt, with or without a negative prompt and a line of parameters.

    Parameters
    ----------
    text
        Any text; without parameters it is just a prompt.

    Returns
    -------
    Parsed
        What could be carried over, and what could not. Nothing is raised.
    """
    valid = text.encode("utf-8", "replace").decode()
    lines = valid.replace("\r\n", "\n").strip().split("\n")
    pairs = _pairs(lines[-1])
    if _are_parameters(pairs):
        lines.pop()
    else:
        pairs = {}
    start = next((index for index, line in enumerate(lines) if line.lstrip().startswith(_NEGATIVE)), len(lines))
    values: dict[str, Any] = {"prompt": "\n".join(lines[:start]).strip()}
    if start < len(lines):
        rest = [lines[start].lstrip().removeprefix(_NEGATIVE), *lines[start + 1 :]]
        values["negative_prompt"] = "\n".join(rest).strip()
    left_out = [] if valid == text else ["Not carried over: a character of the text that is not valid Unicode."]
    for key, value in pairs.items():
        left_out += _carry_over(key, value, pairs, values)
    return Parsed(values, carried_lines(left_out))


def carried_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return at most 20 lines about what stays behind, and one that counts the others."""
    if len(lines) <= _MOST_LINES:
        return tuple(lines)
    return (*lines[:_MOST_LINES], f"Not carried over: {len(lines) - _MOST_LINES} more entries.")


def entries(text: str) -> dict[str, str]:
    """Return the line of parameters by key, as it stands; empty where there is none."""
    pairs = _pairs(text.replace("\r\n", "\n").strip().rpartition("\n")[2])
    return pairs if _are_parameters(pairs) else {}


def looks_like_generation_text(text: str) -> bool:
    """Whether a text ends in a line of parameters: at least three pairs, as AUTOMATIC1111 counts, and steps among them."""
    return _are_parameters(_pairs(text.strip().rpartition("\n")[2]))


def _are_parameters(pairs: dict[str, str]) -> bool:
    # Without the steps, "Subject: cat, Style: oil, Mood: calm" would be no prompt.
    return len(pairs) >= 3 and "Steps" in pairs


def _pairs(line: str) -> dict[str, str]:
    return {match[1]: _unquoted(match[2].strip()) for match in _PAIR.finditer(line)}


def _unquoted(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    try:
        return str(json.loads(value, strict=False))
    except ValueError:
        return value[1:-1]


def _carry_over(key: str, value: str, pairs: dict[str, str], values: dict[str, Any]) -> list[str]:
    """Put what an entry says into `values`; return lines about what stays behind."""
    ours = pairs.get("Version", "").split(" ")[0] == _OURS
    if key == "Denoising strength" and any(name.startswith("Hires") for name in pairs):
        return [f"Not carried over: {key}: {value[:80]!r}, it belongs to the second pass of a hires fix."]
    if key in _FIELDS:
        return _checked({_FIELDS[key]: value}, key, values)
    if key == "Size":
        width, _, height = value.partition("x")
        return _checked({"width": width, "height": height}, key, values)
    if key == "Sampler":
        return _carry_over_sampler(value, ours, values)
    if key == "Model" and ours:
        return _checked({"model": value}, key, values)
    if key not in _NO_RECIPE and (key, value) not in _SAME:
        return [f"Not carried over: {key}: {value[:80]!r}."]
    return []


def _carry_over_sampler(value: str, ours: bool, values: dict[str, Any]) -> list[str]:
    base = value.removesuffix(" Karras").removesuffix(" Exponential")
    if base in SAMPLERS:
        values["scheduler"] = SAMPLERS[base]
        return [] if base == value else [f"Not carried over: the{value.removeprefix(base)} schedule of the sampler."]
    if value in SAMPLERS.values() or ours:
        return _checked({"scheduler": value}, "Sampler", values)
    return [f"Not carried over: Sampler {value[:80]!r}, no scheduler here does the same."]


def _checked(texts: dict[str, str], key: str, values: dict[str, Any]) -> list[str]:
    """Put values of one entry into `values` when all of them keep their rules."""
    checked = {}
    for name, text in texts.items():
        param = PARAMS[name]
        try:
            # int and float alone would also take "1_0" and digits of other scripts.
            written = re.fullmatch(_NUMBERS.get(param.kind, ".*"), text, re.ASCII | re.DOTALL)
            checked[name] = param.check(name, param.kind(text) if written else text)
        except (ParameterError, OverflowError) as error:
            reason = str(error) if isinstance(error, ParameterError) else breaks_rule(name, param.rule, text)
            return [f"Not carried over: {key}. {reason}"]
    values.update(checked)
    return []

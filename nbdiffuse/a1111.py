"""The generation text of AUTOMATIC1111: written so that other tools read the essentials, read so that a paste works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import ParameterError
from .recipe import PARAMS, Recipe

SAMPLERS = {
    "Euler a": "EulerAncestralDiscrete",
    "Euler": "EulerDiscrete",
    "DDIM": "DDIM",
    "DDPM": "DDPM",
    "PLMS": "PNDM",
    "Heun": "HeunDiscrete",
    "DPM++ 2M": "DPMSolverMultistep",
    "UniPC": "UniPCMultistep",
}
"""diffusers scheduler of each sampler."""

_FIELDS = {"Steps": "num_inference_steps", "CFG scale": "guidance_scale", "Seed": "seed", "Denoising strength": "strength"}
_SILENT = {"RNG", "Version", "Model", "Model hash", "Size-1", "Size-2"}
"""Keys that need no word: they say nothing about a recipe, or are handled apart."""
_PAIR = re.compile(r'\s*(\w[\w \-/]*?):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"


@dataclass(frozen=True)
class Parsed:
    """What a text says.

    Parameters
    ----------
    values
        Recipe fields by name, checked.
    left_out
        One line for each entry that a recipe does not hold.
    """

    values: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def generation_text(recipe: Recipe, version: str) -> str:
    """Write the generation text of a complete recipe.

    A prompt whose own last line looks like parameters is read back right, because
    only the last line of the whole text counts; a prompt with a line that begins
    "Negative prompt:" is not, since the format has no way to say it.

    Source: AUTOMATIC1111 `modules/infotext_utils.py`, `processing.create_infotext`.
    """
    sampler = next((name for name, scheduler in SAMPLERS.items() if scheduler == recipe.scheduler), recipe.scheduler)
    entries: dict[str, Any] = {
        "Steps": recipe.num_inference_steps,
        "Sampler": sampler,
        "CFG scale": None if recipe.guidance_scale is None else f"{recipe.guidance_scale:.17g}",
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}" if recipe.width else None,
        "Model": recipe.model,
        "Denoising strength": None if recipe.strength is None else f"{recipe.strength:.17g}",
        "RNG": "CPU",
        "Version": f"nbdiffuse {version}",
    }
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in entries.items() if value is not None)
    negative = f"\n{_NEGATIVE} {recipe.negative_prompt}" if recipe.negative_prompt else ""
    return f"{recipe.prompt}{negative}\n{last}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ',\n:"') else value


def parse(text: str) -> Parsed:
    """Read a prompt, with or without a negative prompt and a line of parameters.

    Parameters
    ----------
    text
        Any text; without parameters it is just a prompt.

    Returns
    -------
    What could be carried over, and what could not. Nothing is raised.
    """
    lines = text.split("\n")
    pairs = dict(_pairs(lines[-1])) if looks_like_parameters(lines[-1]) else {}
    if pairs:
        lines = lines[:-1]
    start = next((index for index, line in enumerate(lines) if line.lstrip().startswith(_NEGATIVE)), len(lines))
    values: dict[str, Any] = {"prompt": "\n".join(lines[:start]).strip()}
    if start < len(lines):
        rest = [lines[start].lstrip().removeprefix(_NEGATIVE), *lines[start + 1 :]]
        values["negative_prompt"] = "\n".join(rest).strip()
    left_out: list[str] = []
    for key, value in pairs.items():
        _carry_over(key, value, values, left_out)
    _carry_over_size(pairs, values, left_out)
    return Parsed(values, tuple(left_out))


def looks_like_parameters(line: str) -> bool:
    """Whether a line is the parameter line: at least three pairs, as AUTOMATIC1111 counts."""
    return sum(1 for _ in _pairs(line)) >= 3


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    for match in _PAIR.finditer(line[:20_000]):
        key, value = match.group(1), match.group(2).strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value[1:-1]
        size = re.fullmatch(r"(\d+)x(\d+)", value, re.ASCII)
        yield from (((f"{key}-1", size[1]), (f"{key}-2", size[2])) if size else ((key, value),))


def _carry_over(key: str, value: str, values: dict[str, Any], left_out: list[str]) -> None:
    if key in _FIELDS:
        name = _FIELDS[key]
        _checked(name, value, key, values, left_out)
    elif key == "Sampler":
        base = value.removesuffix(" Karras")
        if base in SAMPLERS:
            values["scheduler"] = SAMPLERS[base]
            if base != value:
                left_out.append("Not carried over: the Karras schedule of the sampler.")
        elif value in SAMPLERS.values():
            values["scheduler"] = value
        else:
            left_out.append(f"Not carried over: Sampler {value!r}, no scheduler here does the same.")
    elif key == "Schedule type" and value in ("Automatic", "Uniform"):
        pass
    elif key not in _SILENT:
        left_out.append(f"Not carried over: {key}: {value[:80]!r}.")


def _checked(name: str, value: str, key: str, values: dict[str, Any], left_out: list[str]) -> None:
    param = PARAMS[name]
    try:
        number = int(value) if param.kind is int else float(value)
        values[name] = param.check(name, number)
    except (ValueError, ParameterError) as error:
        reason = str(error) if isinstance(error, ParameterError) else f"`{name}` must be {param.rule}, got {value[:80]!r}."
        left_out.append(f"Not carried over: {key}. {reason}")


def _carry_over_size(pairs: dict[str, str], values: dict[str, Any], left_out: list[str]) -> None:
    if "Size-1" not in pairs or "Size-2" not in pairs:
        return
    size: dict[str, Any] = {}
    for name, key in (("width", "Size-1"), ("height", "Size-2")):
        _checked(name, pairs[key], f"Size {pairs['Size-1']}x{pairs['Size-2']}", size, left_out)
    if len(size) == 2:
        values.update(size)

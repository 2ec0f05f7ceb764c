"""The generation text of AUTOMATIC1111: written so that other tools read the essentials, read so that a paste works."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..recipes import prompt_embeddings
from ..recipes.lora import JOINT, text_of
from ..recipes.noise_start import called_strength
from ..recipes.portable import portable_embeddings, portable_loras, portable_word
from ..recipes.recipe import PARAMS, Recipe
from . import a1111_masks, a1111_samplers, models, resources
from .infotext import are_parameters, pairs, taken_apart

_FIELDS = {
    "Steps": "num_inference_steps",
    "CFG scale": "guidance_scale",
    "Image CFG scale": "image_guidance_scale",
    "CFG rescale": "guidance_rescale",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
    "Seed": "seed",
    "Denoising strength": "strength",
    "Noise share": "noise",
    "Weighting": "weighting",
}
_SAME = {
    ("RNG", "CPU"),
    ("Clip skip", "1"),
    ("App", "SD.Next"),
}
"""Entries that say what nbdiffuse does anyway, or that name the program."""
_SAID_ELSEWHERE = {"Version", "Model", "Model hash", "Pipeline"}
"""Keys that name a program and its checkpoint."""
_OF_OURS = {"Preset", "Checkpoint", "VAE", "LoRA", "Lora hashes", "Embeddings", "TI hashes"}
"""Keys that say in our own text what the others of it say to other tools."""
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
    before
        The same as `values` for each pass that came before, the first one first, where
        the picture was made in several.
    """

    values: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    before: tuple[dict[str, Any], ...] = ()


def generation_text(recipe: Recipe, version: str, *, model_hash: str | None = None, lora_hashes: str | None = None) -> str:
    """Write the generation text of a complete recipe.

    `parse` reads it back, even where the prompt's own last line looks like
    parameters, since only the last such line of the whole text counts. The format itself
    has no way to say: a line of the prompt that begins "Negative prompt:", in any case (what
    follows is read as negative), blank space around a prompt, Windows line ends, an
    empty negative prompt as opposed to none, the initial picture, and how it was fitted.

    Parameters
    ----------
    recipe
        Complete, see `resolve.resolve`.
    version
        Of nbdiffuse.
    model_hash
        First 10 hexadecimal digits of the sha256 of the checkpoint's file, or None.
    lora_hashes
        From `resources.lora_hashes`, or None.

    Returns
    -------
    str
        The prompt with its LoRA, the negative prompt if there is one, a line of parameters.

    Raises
    ------
    ParameterError
        The recipe has no steps or no seed, so it is not complete.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/infotext_utils.py`, `processing.create_infotext`, and
    `extensions-builtin/Lora` for "Lora hashes".
    """
    for name in ("num_inference_steps", "seed"):
        if recipe.get(name) is None:
            raise ParameterError(breaks_rule(name, PARAMS[name].rule, None, "Complete the recipe with `resolve`."))
    entries: dict[str, Any] = {
        "Steps": recipe.num_inference_steps,
        **a1111_samplers.entries_of(recipe),
        "CFG scale": _number(recipe.guidance_scale),
        "Image CFG scale": _number(recipe.get("image_guidance_scale")),
        "CFG rescale": _number(recipe.get("guidance_rescale")),
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}" if recipe.width and recipe.height else None,
        "Model hash": model_hash,
        "Model": resources.checkpoint_name(recipe),
        # Of a share of noise other tools read the strength that is nearest.
        "Denoising strength": _number(called_strength(recipe)),
        "Noise share": _number(recipe.noise),
        "Variation seed": recipe.get("variation_seed"),
        "Variation seed strength": _number(recipe.get("variation_strength")),
        # Counted from 1, where diffusers counts the layers that are left out.
        "Clip skip": skipped + 1 if (skipped := recipe.get("clip_skip")) else None,
        **a1111_masks.entries_of(recipe),
        # The dialect that the prompts are written in, which the format itself takes to be its own.
        "Weighting": None if recipe.weighting == "none" else recipe.weighting,
        "RNG": "CPU",
        "Lora hashes": lora_hashes,
        "TI hashes": resources.embedding_hashes(recipe),
        **resources.entries(recipe),
        "Version": f"{_OURS} {version}".strip(),
    }
    last = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in entries.items() if value not in (None, ""))
    negative = f"\n{_NEGATIVE} {recipe.negative_prompt}" if recipe.negative_prompt else ""
    return f"{recipe.prompt}{resources.networks(recipe.loras)}{negative}\n{last}"


def _number(value: float | None) -> str | None:
    # The shortest text that reads back as the same number.
    return None if value is None else repr(value).removesuffix(".0")


def _quoted(value: str) -> str:
    needed = any(sign in value for sign in ',\n:"') or value != value.strip() or value[:1] in ("[", "{")
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
    text = text.removeprefix("\ufeff")
    valid = text.encode("utf-8", "replace").decode()
    said = taken_apart(valid)
    values: dict[str, Any] = {"prompt": said.prompt}
    if said.negative_prompt is not None:
        values["negative_prompt"] = said.negative_prompt
    left_out = [] if valid == text else ["Not carried over: a character of the text that is not valid Unicode."]
    ours = _is_ours(said.entries)
    for key, value in said.entries.items():
        left_out += _carry_over(key, value, said.entries, values)
    if "noise" in values:
        values.pop("strength", None)
    left_out += (_ours if ours else _model)(said.entries, values)
    left_out += [f"Not carried over: {line.strip()[:100]!r}." for line in said.behind if line.strip()]
    return Parsed(values, carried_lines(left_out))


def carried_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return at most 20 lines about what stays behind, and one that counts the others."""
    if len(lines) <= _MOST_LINES:
        return tuple(lines)
    return (*lines[:_MOST_LINES], f"Not carried over: {len(lines) - _MOST_LINES} more entries.")


def entries(text: str) -> dict[str, str]:
    """Return the line of parameters by key, as it stands; empty where there is none."""
    return taken_apart(text).entries


def looks_like_generation_text(text: str) -> bool:
    """Whether a line of a text is one of parameters: at least three pairs, as AUTOMATIC1111 counts, and steps among them."""
    return any("Steps:" in line and are_parameters(pairs(line)) for line in text.strip().split("\n"))


def _is_ours(entries: dict[str, str]) -> bool:
    return entries.get("Version", "").split(" ")[0] == _OURS


def _carry_over(key: str, value: str, entries: dict[str, str], values: dict[str, Any]) -> list[str]:
    """Put what an entry says into `values`; return lines about what stays behind."""
    if key == "Denoising strength" and any(name.startswith("Hires") for name in entries):
        return [f"Not carried over: {key}: {value[:80]!r}, it belongs to the second pass of a hires fix."]
    if key in _FIELDS:
        return _checked({_FIELDS[key]: value}, key, values)
    if key == "Clip skip" and value.isdecimal() and int(value) > 1:
        return _checked({"clip_skip": str(int(value) - 1)}, key, values)
    if key == "Size":
        width, _, height = value.partition("x")
        return _checked({"width": width, "height": height}, key, values)
    about_mask = a1111_masks.texts_of(key, value, entries)
    if about_mask is not None:
        return _checked(about_mask, key, values)
    if key in a1111_samplers.KEYS:
        return a1111_samplers.carry_over(key, value, entries, _is_ours(entries), partial(_take, values))
    if key == "TI hashes" and not _is_ours(entries):
        return _carry_over_embeddings(value, values)
    if key in _SAID_ELSEWHERE or (key, value) in _SAME or (key in _OF_OURS and _is_ours(entries)):
        return []
    return [f"Not carried over: {key}: {value[:80]!r}."]


def _model(entries: dict[str, str], values: dict[str, Any]) -> list[str]:
    """Choose the preset of another tool's checkpoint, and say that its weights stay behind."""
    family, hires = entries.get("Pipeline", ""), any(name.startswith("Hires") for name in entries)
    return models.choose(values, entries.get("Model"), entries.get("Model hash"), family=family, size_tells=not hires)


def _ours(entries: dict[str, str], values: dict[str, Any]) -> list[str]:
    """Put the checkpoint and the LoRA of our own text into `values`; only names and hub ids count, whatever stands there."""
    left = _checked({"model": entries.get("Preset", entries["Model"])}, "Model", values) if "Model" in entries else []
    if resources.is_on_hub(entries.get("Checkpoint", "")):
        left += _checked({"checkpoint": entries["Checkpoint"]}, "Checkpoint", values)
    elif "Preset" in entries:
        left.append(f"Not carried over: Model: {entries.get('Model', '')[:80]!r}, a local file. Give yours as `--checkpoint`.")
    loras = resources.loras_of(entries.get("LoRA", ""))
    named = resources.networks(loras).strip()
    if named:
        values["prompt"] = values["prompt"].removesuffix(named).rstrip()
        values["lora"] = text_of(portable_loras(loras, local=False))
    if entries.get("VAE"):
        values["vae"] = portable_word(entries["VAE"], local=not resources.is_on_hub(entries["VAE"]))
    inversions = resources.embeddings_of(entries.get("Embeddings", ""))
    if inversions:
        values["embedding"] = JOINT.join(map(str, portable_embeddings(inversions, local=False)))
    return left


def _carry_over_embeddings(value: str, values: dict[str, Any]) -> list[str]:
    """Find the textual inversions that a text's prompts call by the bare names of their files."""
    names = [name.strip() for name in re.findall(r"([^:,]+):[^,]*", value)]
    files = {name: prompt_embeddings.find(name) for name in names}
    found = [f"{file}:{name}" for name, file in files.items() if file and not re.search(r"[\s|{}=]", name)]
    if found:
        values["embedding"] = JOINT.join(found)
    gone = [name for name, file in files.items() if file is None]
    return [f"Not carried over: TI hashes: {name[:80]!r}, no such file is here; {prompt_embeddings.PLACE}." for name in gone]


def _take(values: dict[str, Any], name: str, value: Any) -> list[str]:
    """Put a value into a field where it keeps the field's rule; return a line about it where not."""
    try:
        values[name] = PARAMS[name].check(name, value)
    except ParameterError as error:
        return [f"Not carried over: {error}"]
    return []


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

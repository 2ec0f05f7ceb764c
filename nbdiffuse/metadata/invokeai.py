"""Metadata of InvokeAI, of its present format and of the two before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .a1111 import Parsed
from .imported import ImportedParameters, loaded

_FIELDS = {
    "positive_prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "positive_style_prompt": "prompt_2",
    "negative_style_prompt": "negative_prompt_2",
    "width": "width",
    "height": "height",
    "seed": "seed",
    "cfg_scale": "guidance_scale",
    "steps": "num_inference_steps",
    "strength": "strength",
}
_MODELS = {"sd-1": "sd15", "sdxl": "sdxl", "sdxl-refiner": "sdxl-refiner"}
"""Preset of each of its bases."""
_DREAM = re.compile(r'\s*"((?:\\.|[^"\\])*)"(.*)', re.DOTALL)
_SWITCHES = {
    "-s": "steps",
    "--steps": "steps",
    "-S": "seed",
    "--seed": "seed",
    "-W": "width",
    "--width": "width",
    "-H": "height",
    "--height": "height",
    "-C": "cfg_scale",
    "--cfg_scale": "cfg_scale",
    "-f": "strength",
    "--strength": "strength",
}
_NEGATIVE = re.compile(r"\[([^\[\]]*)\]")
_SAME = {
    ("rand_device", "cpu"),
    ("clip_skip", 0),
    ("cfg_rescale_multiplier", 0),
    ("generation_mode", "txt2img"),
    ("generation_mode", "img2img"),
    ("generation_mode", "sdxl_txt2img"),
    ("generation_mode", "sdxl_img2img"),
}
"""Entries that say what nbdiffuse does anyway, or what the recipe says by itself."""
_PROGRAM = {"app_version", "metadata_version", "canvas_v2_metadata"}


def parse(text: str) -> Parsed:
    """Read the text of a PNG's `invokeai_metadata`.

    Parameters
    ----------
    text
        A JSON object.

    Returns
    -------
    Parsed
        What could be carried over, and what could not.

    Raises
    ------
    ValueError
        It is no JSON object, or says neither a prompt nor steps.

    Notes
    -----
    Source: InvokeAI `invokeai/app/invocations/metadata.py`, `CoreMetadataInvocation`.
    """
    entries = loaded(text)
    if not isinstance(entries, dict) or not {"positive_prompt", "steps"} & set(entries):
        raise ValueError("no metadata of a generation")
    imported = ImportedParameters()
    for key, value in entries.items():
        if key in _FIELDS:
            if not (isinstance(value, str) and not value and key != "positive_prompt"):
                imported.take(_FIELDS[key], value, key)
        elif key == "scheduler":
            imported.take_sampler(value, key)
        elif key == "model":
            continue
        elif key == "loras" and isinstance(value, list):
            _loras(value, imported)
        elif key not in _PROGRAM and not _same(key, value):
            imported.leave_all({key: value})
    _model(entries.get("model"), imported)
    _without_style_of_its_own(imported.values)
    return imported.parsed()


def parse_older(text: str) -> Parsed:
    """Read the text of a PNG's `sd-metadata`, which InvokeAI 2 wrote.

    Raises
    ------
    ValueError
        It is no such text.
    """
    whole = loaded(text)
    image = whole.get("image") if isinstance(whole, dict) else None
    if not isinstance(image, dict):
        raise ValueError("no metadata of a generation")
    imported = ImportedParameters()
    prompts = image.get("prompt")
    first = prompts[0] if isinstance(prompts, list) and prompts else prompts
    said = first.get("prompt") if isinstance(first, Mapping) else first
    _prompts(said if said is not None else "", imported)
    for key, value in image.items():
        if key in ("width", "height", "seed", "cfg_scale", "steps", "strength"):
            imported.take(_FIELDS[key], value, key)
        elif key == "sampler":
            imported.take_sampler(value, key)
        elif key not in ("prompt", "type"):
            imported.leave_all({key: value})
    imported.take_model(whole.get("model_weights"), whole.get("model_hash"))
    return imported.parsed()


def parse_dream(text: str) -> Parsed:
    """Read the command of a PNG's `Dream`, which InvokeAI 1 wrote, such as `"a cat [fog]" -s 50 -S 7 -W 512 -H 512`.

    Raises
    ------
    ValueError
        It is no such command.
    """
    command = _DREAM.fullmatch(text)
    if command is None:
        raise ValueError("no command that begins with a prompt in quotation marks")
    imported = ImportedParameters()
    _prompts(re.sub(r'\\(["\\])', r"\1", command[1]), imported)
    for switch, value in _switches(command[2]):
        if switch in _SWITCHES:
            imported.take(_FIELDS[_SWITCHES[switch]], value, switch)
        elif switch in ("-A", "--sampler"):
            imported.take_sampler(value, switch)
        else:
            imported.leave(switch, value)
    return imported.parsed()


def _switches(text: str) -> list[tuple[str, str]]:
    """Return the options of a command with their values, which may hold blanks: files were named so."""
    found: list[tuple[str, str]] = []
    for word in text.split():
        option = re.match(r"(--[a-z_]+|-[A-Za-z])=?(.*)", word, re.DOTALL)
        if option:
            found.append((option[1], option[2]))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {word}".strip())
    return found


def _prompts(said: Any, imported: ImportedParameters) -> None:
    """Take a prompt in which negative words stand in square brackets."""
    if isinstance(said, str) and (negative := [found.strip(" ,") for found in _NEGATIVE.findall(said) if found.strip(" ,")]):
        imported.take("negative_prompt", ", ".join(negative), "prompt")
        said = re.sub(r"\s+", " ", _NEGATIVE.sub("", said)).strip(" ,")
    imported.take("prompt", said, "prompt")


def _same(key: str, value: Any) -> bool:
    return isinstance(value, (str, int, float)) and (key, value) in _SAME


def _model(value: Any, imported: ImportedParameters) -> None:
    held: Mapping[str, Any] = value if isinstance(value, dict) else {"name": value}
    base = held.get("base_model", held.get("base"))
    if isinstance(base, str) and base in _MODELS:
        imported.take("model", _MODELS[base], "model")
    imported.take_model(held.get("model_name", held.get("name")), held.get("hash", held.get("model_hash")), family=base)


def _loras(value: list[Any], imported: ImportedParameters) -> None:
    for one in value:
        model = one.get("model", one.get("lora")) if isinstance(one, dict) else one
        name = model.get("name", model.get("model_name")) if isinstance(model, dict) else model
        imported.take_lora(name, one.get("weight", 1.0) if isinstance(one, dict) else 1.0)


def _without_style_of_its_own(values: dict[str, Any]) -> None:
    """A style prompt that repeats the prompt is what an empty second prompt means here; other models have none."""
    for second, first in (("prompt_2", "prompt"), ("negative_prompt_2", "negative_prompt")):
        if values.get(second) == values.get(first):
            values.pop(second, None)

"""Metadata of Fooocus, which is written as its own JSON or in the words of AUTOMATIC1111."""

from __future__ import annotations

import re
from typing import Any

from . import a1111
from .a1111 import Parsed
from .imported import ImportedParameters, loaded

MODEL = "sdxl"
"""Preset of the only family that it runs."""
_FIELDS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
}
_LORA = re.compile(r"(.+?)\s*:\s*(-?\d*\.?\d+)", re.ASCII)
_PROGRAM = {"version", "metadata_scheme", "created_by", "full_prompt", "full_negative_prompt", "base_model_hash"}


def parse(text: str) -> Parsed:
    """Read the text of `parameters` beside a `fooocus_scheme`.

    Parameters
    ----------
    text
        A JSON object for the scheme "fooocus", generation text for "a1111".

    Returns
    -------
    Parsed
        What could be carried over, and what could not.

    Raises
    ------
    ValueError
        It is no JSON object although it begins as one.

    Notes
    -----
    Source: Fooocus `modules/meta_parser.py`.
    """
    if not text.lstrip().startswith("{"):
        return _from_generation_text(text)
    entries = loaded(text)
    if not isinstance(entries, dict) or "prompt" not in entries:
        raise ValueError("no metadata of a generation")
    imported = ImportedParameters({"model": MODEL})
    for key, value in entries.items():
        if key in _FIELDS:
            _take(imported, key, value)
        elif key == "resolution":
            imported.take_size(value, key)
        elif key == "sampler":
            imported.take_sampler(value, key)
        elif key == "scheduler":
            imported.take_schedule(value, key)
        elif key == "base_model":
            imported.take_model(value, entries.get("base_model_hash"), said_as=key)
        elif key.startswith("lora_combined_") and isinstance(value, str) and (named := _LORA.fullmatch(value)):
            imported.take_lora(named[1], named[2], key)
        elif key not in _PROGRAM:
            imported.leave_all({key: value})
    return imported.parsed()


def _from_generation_text(text: str) -> Parsed:
    """Read the words of AUTOMATIC1111."""
    read = a1111.parse(text)
    imported = ImportedParameters({**read.values, "model": MODEL})
    return imported.parsed(read.left_out)


def _take(imported: ImportedParameters, key: str, value: Any) -> None:
    if value != "" or key == "prompt":
        imported.take(_FIELDS[key], value, key)

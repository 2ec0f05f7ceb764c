"""Metadata of Fooocus, which is written as its own JSON or in the words of AUTOMATIC1111."""

from __future__ import annotations

import re
from typing import Any

from . import a1111
from .a1111 import Parsed
from .carrying import Carriage, loaded

MODEL = "sdxl"
"""Preset of the only family that it runs."""
_FIELDS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
}
_SIZE = re.compile(r"\(?\s*(\d{1,5})\s*[,x×*]\s*(\d{1,5})\s*\)?", re.ASCII)
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
    carriage = Carriage({"model": MODEL})
    for key, value in entries.items():
        if key in _FIELDS:
            _take(carriage, key, value)
        elif key == "resolution":
            _take_size(carriage, value)
        elif key == "sampler":
            carriage.take_sampler(value, key)
        elif key == "scheduler":
            _leave_schedule(carriage, value)
        elif key == "base_model":
            carriage.leave("checkpoint", value, "give it as `checkpoint`")
        elif key not in _PROGRAM:
            carriage.leave_all({key: value})
    return carriage.parsed()


def _from_generation_text(text: str) -> Parsed:
    """Read the words of AUTOMATIC1111, in which the sampler still has its own name."""
    read = a1111.parse(text)
    carriage = Carriage({"model": MODEL, **read.values})
    sampler = a1111.entries(text).get("Sampler")
    left = read.left_out
    if sampler is not None and "scheduler" not in read.values:
        left = tuple(line for line in left if not line.startswith("Not carried over: Sampler"))
        carriage.take_sampler(sampler, "Sampler")
    return carriage.parsed(left)


def _take(carriage: Carriage, key: str, value: Any) -> None:
    if value != "" or key == "prompt":
        carriage.take(_FIELDS[key], value, key)


def _take_size(carriage: Carriage, value: Any) -> None:
    written = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    sides = list(written.groups()) if written else value
    if isinstance(sides, list) and len(sides) == 2:
        carriage.take("width", sides[0], "resolution")
        carriage.take("height", sides[1], "resolution")
    else:
        carriage.leave("resolution", value)


def _leave_schedule(carriage: Carriage, value: Any) -> None:
    if value not in ("normal", "simple", "ddim_uniform", "sgm_uniform"):
        carriage.leave("scheduler", value, "another schedule of the noise")

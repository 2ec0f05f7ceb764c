"""Metadata of InvokeAI, of its present format and of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .a1111 import Parsed
from .carrying import Carriage, loaded

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
_MODELS = {"sd-1": "sd15", "sdxl": "sdxl"}
"""Preset of each of its bases."""
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
    carriage = Carriage()
    for key, value in entries.items():
        if key in _FIELDS:
            if not (isinstance(value, str) and not value and key != "positive_prompt"):
                carriage.take(_FIELDS[key], value, key)
        elif key == "scheduler":
            carriage.take_sampler(value, key)
        elif key == "model":
            _model(value, carriage)
        elif key not in _PROGRAM and not _same(key, value):
            carriage.leave_all({key: value})
    _without_style_of_its_own(carriage.values)
    return carriage.parsed()


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
    carriage = Carriage()
    prompts = image.get("prompt")
    first = prompts[0] if isinstance(prompts, list) and prompts else prompts
    said = first.get("prompt") if isinstance(first, Mapping) else first
    # Negative words stood in square brackets inside the prompt.
    carriage.take("prompt", said if said is not None else "", "prompt")
    for key, value in image.items():
        if key in ("width", "height", "seed", "cfg_scale", "steps", "strength"):
            carriage.take(_FIELDS[key], value, key)
        elif key == "sampler":
            carriage.take_sampler(str(value).removeprefix("k_"), key)
        elif key not in ("prompt", "type"):
            carriage.leave_all({key: value})
    carriage.leave_all({"model": whole.get("model_weights")})
    return carriage.parsed()


def _same(key: str, value: Any) -> bool:
    return isinstance(value, (str, int, float)) and (key, value) in _SAME


def _model(value: Any, carriage: Carriage) -> None:
    held: Mapping[str, Any] = value if isinstance(value, dict) else {"name": value}
    base = held.get("base_model", held.get("base"))
    if isinstance(base, str) and base in _MODELS:
        carriage.take("model", _MODELS[base], "model")
    carriage.leave("checkpoint", held.get("model_name", held.get("name")), "give it as `checkpoint`")


def _without_style_of_its_own(values: dict[str, Any]) -> None:
    """A style prompt that repeats the prompt is what an empty second prompt means here; other models have none."""
    for second, first in (("prompt_2", "prompt"), ("negative_prompt_2", "negative_prompt")):
        if values.get(second) == values.get(first):
            values.pop(second, None)

"""Checkpoints that are half of a pipeline: their model card names the other one, as Kandinsky's decoder names its prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
from diffusers.pipelines import auto_pipeline, pipeline_loading_utils
from huggingface_hub import ModelCard

from ..errors import CheckpointError
from .layouts import components_of, pipeline_class_of

PREFIXES: tuple[str, ...] = tuple(pipeline_loading_utils.CONNECTED_PIPES_KEYS)
"""Keys of a model card that name another checkpoint; its components get the key as a prefix."""


def combined_class(directory: Path) -> Any:
    """Return the class of the whole pipeline where a checkpoint is half of one, else None."""
    if not (directory / "model_index.json").exists():
        return None
    if any(name.startswith(tuple(f"{prefix}_" for prefix in PREFIXES)) for name in components_of(directory)):
        return None
    own = getattr(diffusers, pipeline_class_of(directory), None)
    return auto_pipeline._get_connected_pipeline(own)


def named_in_card(directory: Path, name: str) -> dict[str, str]:
    """Read which checkpoints a model card names.

    Parameters
    ----------
    directory
        With a README.md whose front matter holds a key of `PREFIXES`.
    name
        The checkpoint, for the error's line.

    Raises
    ------
    CheckpointError
        The card is not there, or names none.
    """
    card = directory / "README.md"
    try:
        data = ModelCard.load(card).data.to_dict() if card.is_file() else {}
    except ValueError:  # front matter that is no YAML mapping
        data = {}
    found = {prefix: _first(data.get(prefix)) for prefix in PREFIXES}
    words = {prefix: word for prefix, word in found.items() if word}
    if not words:
        raise CheckpointError(
            f"{name} is half of a pipeline, and its model card names no prior. Add `prior: [<hub id>]` to the README.md's header."
        )
    return words


def _first(value: Any) -> str | None:
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else None

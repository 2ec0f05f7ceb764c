"""Which family a file of a LoRA kind was trained on, told by its header before the checkpoint is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .. import embedded
from ..errors import CheckpointError
from .layouts import shapes

_WIDTHS: Mapping[int, str] = MappingProxyType(
    {
        768: "Stable Diffusion 1",
        1024: "Stable Diffusion 2",
        1280: "the refiner of Stable Diffusion XL",
        2048: "Stable Diffusion XL",
    }
)
"""How wide the text is that a family's UNet is told, in numbers a token."""
_TRANSFORMERS = (
    "double_blocks",
    "single_blocks",
    "single_transformer_blocks",
    "joint_blocks",
    "transformer.transformer_blocks.",
    "lora_transformer_",
    "diffusion_model.layers.",
    "diffusion_model.blocks.",
)
_DOWN = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "_lora.down.weight", "hada_w1_b")


def refuse_other_family(file: Path, directory: Path, name: str) -> None:
    """Refuse a file that was trained on another family than a checkpoint's.

    Parameters
    ----------
    file
        Safetensors; only its header is read.
    directory
        Where the checkpoint's configs are.
    name
        What the checkpoint was asked for by.

    Raises
    ------
    CheckpointError
        It was, or the file is damaged.
    """
    found = shapes(file)
    width = text_width_of(found)
    if _text_width(directory) is None:
        return
    if width is None and any(mark in key for mark in _TRANSFORMERS for key in found):
        what = "a model with a transformer, such as Flux or Stable Diffusion 3"
    elif width is None:
        return
    else:
        refuse_text_width("LoRA", file, width, directory, name)
        return
    raise _of_another_family("LoRA", file, what, directory, name)


def refuse_text_width(kind: str, file: Path, width: int, directory: Path, name: str) -> None:
    """Raise `CheckpointError` where an adapter takes text of another width than a checkpoint's UNet.

    Parameters
    ----------
    kind, file
        What is brought along.
    width
        How wide the text is that it takes, in numbers a token.
    directory, name
        Where the checkpoint's configs are, and what it was asked for by.
    """
    if _text_width(directory) not in (None, width):
        what = f"{_WIDTHS.get(width, 'another family')}, whose text is {width} wide"
        raise _of_another_family(kind, file, what, directory, name)


def _of_another_family(kind: str, file: Path, what: str, directory: Path, name: str) -> CheckpointError:
    own = _text_width(directory) or 0
    line = f"The {kind} {file.name} does not fit {name}: it was trained on {what}"
    if name in embedded.names():
        way_out = "Give full-size weights of its family: `%diffuse use hub`, or `--checkpoint ORG/NAME`."
        return CheckpointError(f"{line}, and {name} is the small checkpoint in this package. {way_out}")
    ours = f"{name} is {_WIDTHS[own]}" if own in _WIDTHS else f"that of {name} is {own} wide"
    return CheckpointError(f"{line}, and {ours}. Choose one that was trained on its kind.")


def text_width_of(found: Mapping[str, Sequence[int]]) -> int | None:
    """Return how wide the text is that a file's layers for cross-attention take; None where it has none, or several."""
    widths = {shape[1] for key, shape in found.items() if _takes_text(key) and len(shape) > 1}
    return widths.pop() if len(widths) == 1 else None


def _takes_text(key: str) -> bool:
    return "attn2" in key and any(part in key for part in ("to_k", "to_v")) and key.endswith(_DOWN)


def _text_width(directory: Path) -> int | None:
    try:
        said = json.loads((directory / "unet" / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    width = said.get("cross_attention_dim") if isinstance(said, dict) else None
    widths: set[object] = set(width) if isinstance(width, Iterable) and not isinstance(width, str) else {width}
    only = widths.pop() if len(widths) == 1 else None
    return only if isinstance(only, int) else None

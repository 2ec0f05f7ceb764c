"""Adapters: LoRA that are added to a loaded checkpoint's own weights, for every pipeline that shares them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import CheckpointError
from .layouts import shapes
from .lora_fusion import fuse_products, is_read_here, not_there, refuse_unknown_keys
from .lora_layers import layers_by_name
from .lora_products import SPELLINGS

# What goes wrong is said in one line; the loader's log has one for each tensor.
logging.getLogger("diffusers.loaders").setLevel(logging.CRITICAL)


def fuse(pipeline: Any, file: Path, weight: float, name: str) -> None:
    """Add a LoRA to the weights of a pipeline's models, for good.

    Parameters
    ----------
    pipeline
        Freshly loaded, and nobody else's.
    file
        Safetensors, as diffusers, PEFT, kohya's trainer or LyCORIS write one: LoRA, LoCon, LoHa, LoKr,
        DoRA, (IA)³ or full differences.
    weight
        How much of it is added.
    name
        What errors call the checkpoint.

    Raises
    ------
    CheckpointError
        The file is damaged, is no LoRA, or is one for another architecture.

    Source: diffusers `StableDiffusionLoraLoaderMixin`; what that drops, see `lora_products`.
    """
    found = shapes(file)
    refuse_what_is_not_finite(file)
    failure: CheckpointError | None = None
    try:
        refuse_unknown_keys(found)
        if is_read_here(found):
            fuse_products(pipeline, file, found, weight)
            return
        given = {"weight_name": file.name, "use_safetensors": True, "local_files_only": True}
        if _has(pipeline, "unet"):
            given["unet_config"] = pipeline.unet.config
        read = pipeline.lora_state_dict(str(file.parent), **given)
        state = read[0] if isinstance(read, tuple) else read
        given.pop("unet_config", None)
        pipeline.load_lora_weights(str(file.parent), adapter_name="added", **given)
    except Exception as error:  # diffusers and peft raise unrelated classes, with a line for each tensor
        said = str(error).splitlines() or [type(error).__name__]
        misfit = "size mismatch" in str(error) or "Target module" in str(error)
        reason = "it was made for another architecture" if misfit else " ".join(said[0].split())[:400].rstrip(".:")
        failure = CheckpointError(f"The LoRA {file.name} does not fit {name}: {reason}. Choose one that was trained on its kind.")
    if failure is not None:
        raise failure
    known, put = sum(".lora_A." in key or "down.weight" in key for key in state), _layers(pipeline)
    if put < known or not put:
        reason = _missing(pipeline, found) or f"{known - put} of its {known} layers are not there"
        raise CheckpointError(f"The LoRA {file.name} does not fit {name}: {reason}. Choose one that was trained on its kind.")
    pipeline.fuse_lora(components=_parts(pipeline), lora_scale=weight)
    pipeline.unload_lora_weights()


def _missing(pipeline: Any, found: Iterable[str]) -> str:
    """Name the first layer that is not there, where the file calls layers by a name that is known here."""
    ends = tuple(f".{end}" for end in SPELLINGS if "down" in end or "lora_A" in end)
    named = {key.removesuffix(end) for key in found for end in ends if key.endswith(end)}
    absent = sorted(named - set(layers_by_name(pipeline)))
    return not_there(absent, len(named)) if absent else ""


def refuse_what_is_not_finite(file: Path) -> None:
    """Raise `CheckpointError` where a file has values that are no numbers: added to weights they would spoil every picture."""
    with safe_open(file, "pt") as opened:
        for key in opened.keys():  # noqa: SIM118  (it is no mapping)
            tensor = opened.get_tensor(key)
            if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                raise CheckpointError(f"The LoRA {file.name} has values that are no numbers in {key}. Fetch or train it again.")


def _has(pipeline: Any, part: str) -> bool:
    return isinstance(getattr(pipeline, part, None), torch.nn.Module)


def _parts(pipeline: Any) -> list[str]:
    """Return the components that diffusers' loader of a pipeline's family can change."""
    return [part for part in pipeline._lora_loadable_modules if _has(pipeline, part)]


def _layers(pipeline: Any) -> int:
    """Count the layers that a LoRA was put beside."""
    modules = (module for part in _parts(pipeline) for module in getattr(pipeline, part).modules())
    return sum("added" in getattr(module, "lora_A", ()) for module in modules)

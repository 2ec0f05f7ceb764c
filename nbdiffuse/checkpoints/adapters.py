"""Adapters: LoRA put into a loaded checkpoint's own weights, so that what shares the weights shares them as they are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import CheckpointError
from .layouts import shapes

# What goes wrong is said in one line; the loader's log has one for each tensor.
logging.getLogger("diffusers.loaders").setLevel(logging.CRITICAL)

PARTS = ("unet", "text_encoder", "text_encoder_2")


def fuse(pipeline: Any, file: Path, weight: float, name: str) -> None:
    """Add a LoRA to the weights of a pipeline's models, for good.

    Parameters
    ----------
    pipeline
        Freshly loaded, and nobody else's.
    file
        Safetensors, in the format of diffusers, of peft or of kohya's trainer.
    weight
        How much of it is added.
    name
        What errors call the checkpoint.

    Raises
    ------
    CheckpointError
        The file is damaged, is no LoRA, or is one for another architecture.

    Source: diffusers `StableDiffusionLoraLoaderMixin`.
    """
    shapes(file)
    refuse_what_is_not_finite(file)
    failure: CheckpointError | None = None
    try:
        given = {"weight_name": file.name, "use_safetensors": True, "local_files_only": True}
        state = pipeline.lora_state_dict(str(file.parent), unet_config=pipeline.unet.config, **given)[0]
        pipeline.load_lora_weights(str(file.parent), adapter_name="added", **given)
    except Exception as error:  # diffusers and peft raise unrelated classes, with a line for each tensor
        said = str(error).splitlines() or [type(error).__name__]
        misfit = "size mismatch" in str(error) or "Target module" in str(error)
        reason = "it was made for another architecture" if misfit else said[0].strip()[:200].rstrip(".")
        failure = CheckpointError(f"The LoRA {file.name} does not fit {name}: {reason}. Choose one that was trained on its kind.")
    if failure is not None:
        raise failure
    known, found = sum(".lora_A." in key or "down.weight" in key for key in state), _layers(pipeline)
    if found < known or not found:
        advice = "Choose one that was trained on its kind."
        raise CheckpointError(
            f"The LoRA {file.name} does not fit {name}: {known - found} of its {known} layers are not there. {advice}"
        )
    pipeline.fuse_lora(components=[part for part in PARTS if _has(pipeline, part)], lora_scale=weight)
    pipeline.unload_lora_weights()


def refuse_what_is_not_finite(file: Path) -> None:
    """Raise `CheckpointError` where a file has values that are no numbers: added to weights they would spoil every picture."""
    with safe_open(file, "pt") as opened:
        for key in opened.keys():  # noqa: SIM118  (it is no mapping)
            tensor = opened.get_tensor(key)
            if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                raise CheckpointError(f"The LoRA {file.name} has values that are no numbers in {key}. Fetch or train it again.")


def _has(pipeline: Any, part: str) -> bool:
    return isinstance(getattr(pipeline, part, None), torch.nn.Module)


def _layers(pipeline: Any) -> int:
    """Count the layers that a LoRA was put beside."""
    modules = (module for part in PARTS if _has(pipeline, part) for module in getattr(pipeline, part).modules())
    return sum("added" in getattr(module, "lora_A", ()) for module in modules)

"""Load a checkpoint's components: tensors only, none missing, none unexpected, no NaN and no infinite value."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import diffusers
import torch

from ..devices.memory import tensors
from ..errors import CheckpointError
from ..recipes import lora
from . import adapters, single_file
from .completeness import dispensable
from .failures import explain, explain_local
from .layouts import chosen_weights, components_of, pipeline_class_of, shapes, variant_of
from .locate import Checkpoint
from .priors import combined_class

_ONE_AT_A_TIME = threading.Lock()
"""transformers and diffusers make models under settings of the whole process, which the workers of several GPUs share."""


def load(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Load a checkpoint on the CPU, as the pipeline or the model that it says it is.

    Parameters
    ----------
    checkpoint
        From `finding.find`.
    dtype
        Of every weight.

    Returns
    -------
    The pipeline or the model.

    Raises
    ------
    CheckpointError
        A file is damaged, or a tensor is missing, unexpected, of another shape or not finite.
    torch.OutOfMemoryError, MemoryError
        It does not fit; passed on as it is.
    """
    failure: CheckpointError
    try:
        with _ONE_AT_A_TIME:
            loaded = _load(checkpoint, dtype)
            for file, weight, in_text_encoders in checkpoint.lora:
                adapters.fuse(loaded, file, weight, lora.split_text(checkpoint.name)[0], in_text_encoders)
        return loaded
    except (CheckpointError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # diffusers, transformers and safetensors raise unrelated classes
        explained = explain_local if checkpoint.is_local else explain
        failure = CheckpointError(explained(error, checkpoint.name))
    # Raised outside the `except`, so that the line does not hold what was half loaded.
    raise failure


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    if checkpoint.file is not None:
        pipeline = single_file.load(checkpoint.file, checkpoint.directory, dtype)
        for name, component in pipeline.components.items():
            if not checkpoint.verified and isinstance(component, torch.nn.Module):
                _refuse_what_is_not_finite(checkpoint, name, component)
        return pipeline
    pipeline = _load_own(checkpoint, dtype)
    if not checkpoint.connected:
        return pipeline
    # Loaded here and handed over: the combined class would fetch and load it by itself, unchecked.
    added = {
        f"{prefix}_{name}": component
        for prefix, other in checkpoint.connected.items()
        for name, component in _load_own(other, dtype).components.items()
    }
    return combined_class(checkpoint.directory)(**pipeline.components, **added)


def _load_own(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    half = dtype != torch.float32
    components = components_of(checkpoint.directory)
    modules: dict[str, Any] = {}
    for name, (library, class_name) in components.items():
        weights = chosen_weights(checkpoint.directory / name, half)
        if not weights:
            continue
        for file in weights:
            # diffusers reads a file with a broken header as text, for half a minute.
            shapes(file)
        modules[name] = _module(checkpoint, name, _class(library, class_name), dtype, weights[0].name)
    if "." in modules:
        return modules["."]
    modules |= dict.fromkeys(dispensable(checkpoint.directory))
    pipeline = _class("diffusers", pipeline_class_of(checkpoint.directory)).from_pretrained(
        checkpoint.directory, dtype=dtype, local_files_only=True, use_safetensors=True, **modules
    )
    for name, component in pipeline.components.items():
        if name not in modules:
            _refuse_tensors_without_files(checkpoint, name, component)
    return pipeline


def _class(library: str, class_name: str) -> Any:
    top = importlib.import_module(library) if library == "transformers" else diffusers
    found = getattr(top, class_name, None) or getattr(getattr(diffusers.pipelines, library, None), class_name, None)
    if found is None:
        raise CheckpointError(f"{class_name} is not in the installed {library}. Upgrade {library}.")
    return found


def _module(checkpoint: Checkpoint, name: str, model_class: Any, dtype: torch.dtype, weights: str) -> Any:
    """Load one model and compare its keys with the file's; diffusers itself only warns."""
    model, info = model_class.from_pretrained(
        checkpoint.directory / name,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=weights.endswith(".safetensors"),
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        variant=variant_of(weights) or None,
    )
    # Old text encoders carry their positions as a buffer, which is computed today.
    unexpected = [key for key in info["unexpected_keys"] if not key.endswith("position_ids")]
    on_meta = [key for key, tensor in model.state_dict().items() if tensor.is_meta]
    reshaped = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    for keys, trouble in (
        (reshaped, "has another shape in"),
        (info["missing_keys"], "lacks"),
        (on_meta, "lacks"),
        (unexpected, "has an unexpected"),
    ):
        if keys:
            shown = name if name != "." else "the model"
            rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise CheckpointError(f"{shown} of {checkpoint.name} {trouble} tensor {min(keys)}{rest}. Fetch the checkpoint again.")
    if not checkpoint.verified:
        _refuse_what_is_not_finite(checkpoint, name, model)
    return model.eval()


def _refuse_what_is_not_finite(checkpoint: Checkpoint, name: str, model: Any) -> None:
    for key, tensor in model.state_dict().items():
        # Where one is no number, the least or the greatest is none; to ask for these two makes no copy.
        if tensor.is_floating_point() and tensor.numel() and not all(map(torch.isfinite, torch.aminmax(tensor))):
            raise CheckpointError(f"{name} of {checkpoint.name} has values that are no numbers in {key}. Fetch it again.")


def _refuse_tensors_without_files(checkpoint: Checkpoint, name: str, component: Any) -> None:
    if any(True for _ in tensors(component)):
        raise CheckpointError(f"{name} of {checkpoint.name} has no weights file. Fetch the checkpoint again.")

"""Adapters: LoRA that are added to a loaded checkpoint's own weights, for every pipeline that shares them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ..errors import CheckpointError
from .layouts import shapes
from .lora_fusion import fuse_products, is_more_than_lora, is_read_here, not_there, parted, refuse_unknown_keys
from .lora_layers import TEXT_ENCODERS, layers_by_name
from .lora_products import SPELLINGS

# What goes wrong is said in one line; the loader's log has one for each tensor.
logging.getLogger("diffusers.loaders").setLevel(logging.CRITICAL)


def fuse(pipeline: Any, file: Path, weight: float, name: str, in_text_encoders: float) -> None:
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
    in_text_encoders
        How much of it is added to the text encoders.

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
        ours = _read_here(pipeline, file, found)
        if ours:
            fuse_products(pipeline, file, ours, weight, in_text_encoders)
        if len(ours) < len(found):
            _fuse_by_diffusers(pipeline, file, found, ours, weight, in_text_encoders)
        return
    except Exception as error:  # diffusers and peft raise unrelated classes, with a line for each tensor
        said = str(error).splitlines() or [type(error).__name__]
        misfit = "size mismatch" in str(error) or "Target module" in str(error)
        reason = "it was made for another architecture" if misfit else " ".join(said[0].split())[:400].rstrip(".:")
        failure = CheckpointError(f"The LoRA {file.name} does not fit {name}: {reason}. Choose one that was trained on its kind.")
    raise failure


Found = Mapping[str, Sequence[int]]


def _read_here(pipeline: Any, file: Path, found: Found) -> Found:
    """Return the part of a file that is added here, layer by layer; diffusers' loader gets the rest.

    For a UNet that is a whole file of a kind that diffusers drops. For a transformer it is
    all whose names diffusers does not know and whose layers are here, such as those of T5.
    """
    if _has(pipeline, "unet") or is_more_than_lora(found):
        return found if is_read_here(found) else {}
    known = layers_by_name(pipeline)
    try:
        read = {_layer(key) for key in _state(pipeline, file)}
    except Exception:  # each family's conversion raises its own
        read = set()
    if read and all(one in known and one.partition(".")[0] in pipeline._lora_loadable_modules for one in read):
        return {}
    return {key: shape for key, shape in found.items() if parted(key, found)[0] in known}


def _state(pipeline: Any, given: Path | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors as diffusers' loader of a pipeline's family takes them."""
    read = pipeline.lora_state_dict(*_source(given), **_how(given), **_unet_config(pipeline))
    state: dict[str, torch.Tensor] = read[0] if isinstance(read, tuple) else read
    return state


def _source(given: Path | dict[str, torch.Tensor]) -> tuple[Any]:
    return (str(given.parent),) if isinstance(given, Path) else (dict(given),)


def _how(given: Path | dict[str, torch.Tensor]) -> dict[str, Any]:
    if not isinstance(given, Path):
        return {}
    return {"weight_name": given.name, "use_safetensors": True, "local_files_only": True}


def _unet_config(pipeline: Any) -> dict[str, Any]:
    return {"unet_config": pipeline.unet.config} if _has(pipeline, "unet") else {}


def _layer(key: str) -> str:
    return next((key.removesuffix(end) for end in (".lora_A.weight", ".lora_B.weight", ".alpha") if key.endswith(end)), key)


def _fuse_by_diffusers(pipeline: Any, file: Path, found: Found, ours: Found, weight: float, in_text_encoders: float) -> None:
    """Add what a file holds, without what has been added here, by the loader of the pipeline's family."""
    given: Path | dict[str, torch.Tensor] = file
    if ours:
        given = {key: tensor for key, tensor in load_file(file).items() if key not in ours}
    known = sum(".lora_A." in key or "down.weight" in key for key in _state(pipeline, given))
    pipeline.load_lora_weights(*_source(given), adapter_name="added", **_how(given))
    put = _layers(pipeline)
    if put < known or not put:
        raise CheckpointError(_missing(pipeline, found) or f"{known - put} of its {known} layers are not there")
    parts = _parts(pipeline)
    encoders = [part for part in parts if part in TEXT_ENCODERS and in_text_encoders != weight]
    pipeline.fuse_lora(components=[part for part in parts if part not in encoders], lora_scale=weight)
    if encoders:
        pipeline.fuse_lora(components=encoders, lora_scale=in_text_encoders)
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

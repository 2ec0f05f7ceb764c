"""Files of LoRA kinds, or names, that diffusers does not read, added to a pipeline's weights layer by layer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import CheckpointError
from ..families.contents import seems_to_be
from .lora_layers import TEXT_ENCODERS, Layer, layers_by_name
from .lora_products import IN_TRAINING, SPELLINGS, added, added_to_bias, expected_shapes, kind_of, refuse_shape

_FOR_DIFFUSERS = ("lora_up", "lora_down", "alpha")
_PREFIXES = ("base_model.model.", "lycoris_")
_IN_PROCESSORS = tuple(f"_{layer}.{side}.weight" for layer in ("lora", "lora1", "lora2", "layer") for side in ("up", "down"))
_OLD_DIFFUSERS = (*_IN_PROCESSORS, ".network_alpha")
"""Ends of keys of attention processors, as diffusers saved them once and XLabs' trainer for Flux does."""


def is_read_here(found: Mapping[str, Sequence[int]]) -> bool:
    """Tell whether a file holds something that diffusers' loader drops, or refuses for a UNet."""
    return is_more_than_lora(found) or any(key.startswith(_PREFIXES) for key in found)


def is_more_than_lora(found: Mapping[str, Sequence[int]]) -> bool:
    """Tell whether a file holds more than products of two matrices: LoHa, LoKr, DoRA and their kin."""
    return any(parted(key, found)[1] not in ("", *_FOR_DIFFUSERS) for key in found)


def refuse_unknown_keys(found: Mapping[str, Sequence[int]]) -> None:
    """Raise `CheckpointError` for a key that no file of a LoRA kind has, and say what the file seems to be."""
    unknown = [key for key in found if not parted(key, found)[1] and not key.endswith(_OLD_DIFFUSERS) and not _idle(key)]
    if not found:
        raise CheckpointError("it holds no tensors")
    if unknown:
        rest = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        what = f"its key {_shown(min(unknown))}{rest} is none that a LoRA has"
        raise CheckpointError(f"{what}; it seems to be {seems_to_be(found)}")


def fuse_products(
    pipeline: Any, file: Path, found: Mapping[str, Sequence[int]], strength: float, in_text_encoders: float
) -> None:
    """Add a file to a pipeline's weights, for good; nothing is changed before all of it is found to fit.

    Parameters
    ----------
    pipeline
        Freshly loaded, and nobody else's.
    file
        Safetensors.
    found
        Shapes by key, of what is added.
    strength, in_text_encoders
        How much of it is added, and how much to text encoders.

    Raises
    ------
    CheckpointError
        A layer is not there, a tensor is missing, or has another shape; the line is the end of a sentence.
    """
    groups: dict[str, dict[str, str]] = {}
    for key in found:
        if not _idle(key):
            called, name = parted(key, found)
            groups.setdefault(called, {})[name] = key
    planned = _plan(pipeline, groups, found)
    ratio = _ratio_of_peft(file, groups)
    with safe_open(file, "pt") as opened, torch.no_grad():
        for layer, keys, expected in planned:
            tensors = {name: opened.get_tensor(key).float().reshape(expected[name]) for name, key in keys.items()}
            _refuse_the_other_side(tensors, keys, layer)
            products = {name: tensor for name, tensor in tensors.items() if name not in ("diff_b", "b_norm")}
            much = in_text_encoders if layer.part in TEXT_ENCODERS else strength
            weight: Any = layer.module.weight
            if products:
                weight.data = added(weight.data, products, much, ratio).to(weight.dtype)
            bias: Any = getattr(layer.module, "bias", None)
            if bias is not None:
                bias.data = added_to_bias(bias.data, tensors, much).to(bias.dtype)


Plan = list[tuple[Layer, dict[str, str], dict[str, list[int]]]]


def _plan(pipeline: Any, groups: Mapping[str, dict[str, str]], found: Mapping[str, Sequence[int]]) -> Plan:
    """Find each layer and compare each shape, from the file's header alone."""
    known = layers_by_name(pipeline)
    missing = [name for name in groups if name not in known]
    if missing:
        raise CheckpointError(not_there(missing, len(groups)))
    planned: Plan = []
    taken: dict[tuple[str, str], str] = {}
    for called, keys in groups.items():
        layer, given = known[called], {name: found[key] for name, key in keys.items()}
        before = taken.setdefault((layer.part, layer.name), called)
        if before != called:
            raise CheckpointError(f"it names one layer twice, as {_shown(before)} and as {_shown(called)}")
        if not kind_of(frozenset(given)):
            has = ", ".join(sorted(_shown(key) for key in keys.values()))
            raise CheckpointError(f"this makes no LoRA of a known kind for one layer: {has[:300]}")
        module: Any = layer.module
        bias = getattr(module, "bias", None)
        expected = dict(expected_shapes(given, module.weight.shape, None if bias is None else bias.shape))
        for name, key in keys.items():
            refuse_shape(_shown(key), given[name], expected[name])
        planned.append((layer, keys, expected))
    return planned


def not_there(missing: Sequence[str], total: int) -> str:
    """Say which of a file's layers the checkpoint lacks, as the end of a sentence."""
    which = f"its layer {_shown(min(missing))}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    return f"{which} of {total} {'are' if len(missing) > 1 else 'is'} not there"


def parted(key: str, found: Mapping[str, Sequence[int]]) -> tuple[str, str]:
    """Take a key apart into the layer's name and what stands there; "" for a key that is not known."""
    for end, name in SPELLINGS.items():
        layer = key.removesuffix(f".{end}")
        # (IA)³ calls its factors "weight", as every layer does.
        if layer != key and (name != "ia3" or f"{layer}.on_input" in found):
            return layer, name
    return key, ""


def _idle(key: str) -> bool:
    return key.endswith(tuple(f".{name}" for name in IN_TRAINING))


def _refuse_the_other_side(tensors: Mapping[str, torch.Tensor], keys: Mapping[str, str], layer: Layer) -> None:
    """Refuse factors whose number is that of the side that `on_input` does not name."""
    if "ia3" in tensors:
        weight: Any = layer.module.weight
        side = weight.shape[1 if tensors["on_input"].item() else 0]
        if tensors["ia3"].numel() != side:
            raise CheckpointError(f"its {_shown(keys['ia3'])} has {tensors['ia3'].numel()} factors, and the layer needs {side}")


def _ratio_of_peft(file: Path, groups: Mapping[str, Mapping[str, str]]) -> float:
    """Return alpha over rank as PEFT keeps it, in a config beside the file; 1 where there is none."""
    config = file.with_name("adapter_config.json")
    if not any(name.startswith("base_model.model.") for name in groups) or not config.is_file():
        return 1.0
    try:
        said = json.loads(config.read_text("utf-8"))
        alpha, rank = float(said.get("lora_alpha", said.get("alpha"))), float(said["r"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f"{config} beside it gives no alpha and rank") from None
    if said.get("alpha_pattern") or said.get("rank_pattern"):
        raise CheckpointError(f"{config} beside it gives layers an alpha of their own, which is not read here")
    return alpha / (math.sqrt(rank) if said.get("use_rslora") else rank)


def _shown(key: str) -> str:
    """Return a key as one short line: it is data from a file."""
    shown = repr(key)[1:-1]
    return shown if len(shown) <= 100 else f"{shown[:46]} ... {shown[-46:]}"

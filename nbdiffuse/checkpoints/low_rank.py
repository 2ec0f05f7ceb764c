"""LoRA that stay apart from the weights: what each adds to the output of a layer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ..errors import CheckpointError
from ..files.hashes import sha256_of
from .adapter_files import LORA, locate_file
from .adapters import refuse_what_is_not_finite
from .layouts import shapes
from .lora_families import refuse_other_family
from .lora_fusion import is_more_than_lora, not_there, parted, refuse_unknown_keys
from .lora_layers import Layer, layers_by_name
from .lora_products import refuse_shape

_METADATA = "lora_adapter_metadata"
"""Where diffusers' `save_lora_weights` keeps PEFT's configs."""


@dataclass(frozen=True)
class LowRank:
    """What a LoRA adds to the output of one layer: up(down(input)) by a scale.

    Parameters
    ----------
    layer
        It is left as it is.
    down, up
        Of shapes (rank, in) and (out, rank); for convolutions with their kernels.
    alpha
        Over the rank it is the scale at strength 1.
    """

    layer: Layer
    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    def scale(self, strength: float) -> float:
        """Return the factor at a strength, in the order in which PEFT's `set_scale` computes it."""
        return strength * self.alpha / self.down.shape[0]


@dataclass(frozen=True)
class LoraFile:
    """A LoRA on this disk that is kept apart from the weights.

    Parameters
    ----------
    path
        Its file.
    identity
        sha256 of the file.
    notices
        What a person should know, one line each.
    """

    path: Path
    identity: str
    notices: tuple[str, ...] = ()


def locate_lora(word: str, directory: Path, name: str) -> LoraFile:
    """Find a LoRA's file, and refuse one that was trained on another family, before either is loaded.

    Parameters
    ----------
    word
        As in `adapter_files.locate_file`.
    directory, name
        Where the base checkpoint's configs are, and what it was asked for by.

    Raises
    ------
    CheckpointError
        There is none, it is of a kind that only goes into the weights, or it fits another family.
    """
    found = locate_file(word, LORA)
    refuse_other_family(found.path, directory, name)
    if is_more_than_lora(shapes(found.path)):
        line = f"The LoRA {found.path.name} holds LoHa, LoKr, DoRA or the like, which are added into the weights"
        raise CheckpointError(f"{line}. Leave out `:unfused` behind it.")
    return LoraFile(found.path, sha256_of(found.path), found.notices)


def low_rank(components: Mapping[str, Any], pipeline: Any, file: Path, name: str) -> list[LowRank]:
    """Read what a LoRA adds to the layers of a checkpoint in memory, which stay as they are.

    Parameters
    ----------
    components
        The checkpoint's, by diffusers' names.
    pipeline
        Class that its LoRA are loaded by, for names that only its converter knows.
    file
        Safetensors.
    name
        What errors call the checkpoint.

    Raises
    ------
    CheckpointError
        The file is damaged, or does not fit.
    """
    refuse_what_is_not_finite(file)
    try:
        refuse_unknown_keys(shapes(file))
        known = layers_by_name(SimpleNamespace(**components))
        groups = _groups(load_file(file))
        if not groups.keys() <= known.keys():
            converted = _converted(pipeline, file)
            groups = converted if converted and converted.keys() <= known.keys() else groups
        missing = [one for one in groups if one not in known]
        if missing:
            raise CheckpointError(not_there(missing, len(groups)))
        alphas = _alphas_of_peft(file)
        return [_low_rank(called, known[called], held, alphas) for called, held in groups.items()]
    except CheckpointError as error:
        reason = str(error).rstrip(".")
    raise CheckpointError(f"The LoRA {file.name} does not fit {name}: {reason}. Choose one that was trained on its kind.")


Groups = dict[str, dict[str, torch.Tensor]]


def _groups(state: Mapping[str, torch.Tensor]) -> Groups:
    found: Groups = {}
    for key, tensor in state.items():
        called, name = parted(key, {})
        found.setdefault(called, {})[name] = tensor
    return found


def _converted(pipeline: Any, file: Path) -> Groups:
    """Return a file's layers by diffusers' own names, where its converter knows them; nothing where it does not."""
    try:
        read = pipeline.lora_state_dict(str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True)
    except Exception:  # each family's conversion raises its own
        return {}
    return _groups(read[0] if isinstance(read, tuple) else read)


def _low_rank(called: str, layer: Layer, held: Mapping[str, torch.Tensor], alphas: Mapping[str, float]) -> LowRank:
    if not {"lora_down", "lora_up"} <= held.keys():
        raise CheckpointError(f"its layer {called[:100]!r} lacks one of the two matrices")
    down, up = held["lora_down"], held["lora_up"]
    weight: Any = layer.module.weight
    out, into, *kernel = weight.shape
    _refuse_shapes(called, down.shape, up.shape, [down.shape[0], into, *kernel], [out, down.shape[0]])
    alpha = float(held["alpha"].item()) if "alpha" in held else alphas.get(layer.part, float(down.shape[0]))
    ones = [1] * len(kernel)
    return LowRank(layer, down.reshape(down.shape[0], into, *kernel), up.reshape(out, down.shape[0], *ones), alpha)


def _refuse_shapes(called: str, down: Sequence[int], up: Sequence[int], *expected: Sequence[int]) -> None:
    for name, given, wanted in (("lora_down", down, expected[0]), ("lora_up", up, expected[1])):
        refuse_shape(f"{called[:100]}.{name}", given, wanted)


def _alphas_of_peft(file: Path) -> dict[str, float]:
    """Return alpha by component, as diffusers keeps it in a file's header; nothing where it does not."""
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get(_METADATA)
    try:
        said = json.loads(text) if text else {}
        parts = {key.partition(".")[0] for key in said}
        if any(said.get(f"{part}.{name}_pattern") for part in parts for name in ("alpha", "rank")):
            raise CheckpointError(
                "its header gives layers an alpha of their own, which is only read where it is added into the weights"
            )
        return {part: _alpha(said, part) for part in parts if f"{part}.lora_alpha" in said}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError("its header gives no alpha and rank") from None


def _alpha(said: Mapping[str, Any], part: str) -> float:
    alpha, rank = float(said[f"{part}.lora_alpha"]), float(said[f"{part}.r"])
    return alpha * math.sqrt(rank) if said.get(f"{part}.use_rslora") else alpha

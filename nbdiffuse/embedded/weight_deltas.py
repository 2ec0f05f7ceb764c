"""Components that ship as what they change in another checkpoint: a low-rank product for each of its matrices.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import load_file

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
NAME = "difference.safetensors"
"""The file that ships in the place of a component's weights."""
WEIGHTS = "diffusion_pytorch_model.safetensors"


def merge(base: Path, difference: Path, target: Path) -> None:
    """Write the weights that a difference makes of a base's.

    Parameters
    ----------
    base
        float16 safetensors.
    difference
        For each weight W that changes, float16 tensors: `W.up` (out, rank) and `W.down` (rank, ...), and W becomes
        W + up @ down; or `W.diff`, which is added as it is, and is float32 where the sum has to be exact.
        `W.wide` stands behind W's second dimension: more channels in.
    target
        Gets the header of `base`, but for what is made larger. The sums are made in float64, so every machine writes the
        same bytes; they are rounded by way of float32, as torch does.
    """
    raw = base.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    changes = load_file(difference)
    changed = {key.rpartition(".")[0] for key in changes}
    written, made, end = {}, [], 0
    for name, entry in sorted(_entries(header), key=lambda item: int(item[1]["data_offsets"][0])):
        first, last = (8 + length + offset for offset in entry["data_offsets"])
        weight, shape = raw[first:last], entry["shape"]
        if name in changed:
            weight, shape = _changed(np.frombuffer(weight, "<f2").reshape(shape), changes, name)
        written[name] = {**entry, "shape": shape, "data_offsets": [end, end + len(weight)]}
        made.append(weight)
        end += len(weight)
    # In the base's order, so that what is made no larger keeps the header to the byte.
    head = json.dumps({name: written.get(name, entry) for name, entry in header.items()}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    target.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(made))


def _entries(header: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in header.items() if name != "__metadata__"]


def _changed(weight: Array, changes: Mapping[str, Array], name: str) -> tuple[bytes, list[int]]:
    made = weight.astype(np.float64) + _change(changes, name).reshape(weight.shape)
    wide = changes.get(f"{name}.wide")
    if wide is not None:
        made = np.concatenate([made, wide.astype(np.float64)], axis=1)
    return made.astype(np.float32).astype("<f2").tobytes(), list(made.shape)


def _change(changes: Mapping[str, Array], name: str) -> Array:
    whole = changes.get(f"{name}.diff")
    if whole is not None:
        return whole.astype(np.float64)
    product: Array = changes[f"{name}.up"].astype(np.float64) @ changes[f"{name}.down"].astype(np.float64)
    return product

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
        W + up @ down; or `W.diff`, which is added as it is.
    target
        Gets the header of `base`. The sums are made in float64, so every machine writes the same bytes; they are rounded
        by way of float32, as torch does.
    """
    raw = bytearray(base.read_bytes())
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    changes = load_file(difference)
    for name in sorted({key.rpartition(".")[0] for key in changes}):
        begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
        change = _change(changes, name)
        weight = np.frombuffer(raw, "<f2", (end - begin) // 2, begin).astype(np.float64) + change.ravel()
        raw[begin:end] = weight.astype(np.float32).astype("<f2").tobytes()
    target.write_bytes(raw)


def _change(changes: Mapping[str, Array], name: str) -> Array:
    whole = changes.get(f"{name}.diff")
    if whole is not None:
        return whole.astype(np.float64)
    product: Array = changes[f"{name}.up"].astype(np.float64) @ changes[f"{name}.down"].astype(np.float64)
    return product

"""Train `comic`, `pixel-art` and `elden-ring`: the base, taught one style that its trigger words call.

Plain pictures without the trigger stay in the mix, so that the words keep their
meaning and the style comes when it is called. Of the UNet only a low-rank change
ships.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from . import base, calibration
from .latents import LatentPool

RANK = 24
"""Of what a style changes in each matrix of the UNet, as it ships: it keeps its looks, and takes a third of the bytes."""


def train(
    trained: nn.ModuleDict,
    calibrated: nn.ModuleDict,
    pool: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.ModuleDict:
    """Teach the base a style, with its guidance calibrated as the base's was.

    Parameters
    ----------
    trained, calibrated
        The base before and after `calibration.calibrate`.
    pool
        Pictures in the style, and plain ones.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    taught = base.train(pool, tokenizer, state_file, steps, seed, start=copy.deepcopy(trained))
    # What calibration changed in the base is what the style needs, too.
    return calibration.carried_over(taught, trained, calibrated)


@torch.no_grad()
def change_of(taught: nn.Module, base: nn.Module, rank: int = RANK) -> dict[str, Tensor]:
    """Return what was changed in a module, as it ships, see `differences.merge`: the nearest product of that rank for each
    matrix which that makes smaller, and all of the others."""
    change: dict[str, Tensor] = {}
    for name, weight in base.state_dict().items():
        moved = (taught.state_dict()[name].double() - weight.double()).cpu()
        rows, columns = len(moved), moved.numel() // max(1, len(moved))
        if rank * (rows + columns) < moved.numel():
            left, sizes, right = torch.linalg.svd(moved.reshape(rows, -1), full_matrices=False)
            root = sizes[:rank].sqrt()
            change |= {f"{name}.up": left[:, :rank] * root, f"{name}.down": root[:, None] * right[:rank]}
        else:
            change[f"{name}.diff"] = moved
    return {name: tensor.half().contiguous() for name, tensor in change.items()}

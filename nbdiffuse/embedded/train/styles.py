"""Train `comic`, `pixel-art` and `elden-ring`: the base, taught one style that its trigger words call.

Plain pictures without the trigger stay in the mix, so that the words keep their
meaning and the style comes when it is called.
"""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn
from transformers import CLIPTokenizer

from . import base, calibration
from .latents import LatentPool


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

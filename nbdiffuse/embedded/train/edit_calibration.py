"""Calibrate `edit`: move its best guidance scales to the pipeline's own, 7.5 for the words and 1.5 for the picture.

A small network follows its words too surely, as `calibration` says. With e the trained network, for a picture i and words w,
a copy is taught

    e'(x, "", nothing) = e(x, "", nothing)
    e'(x, "", i) - e'(x, "", nothing) = SEEN * (e(x, "", i) - e(x, "", nothing))
    e'(x, w, i) - e'(x, "", i) = SAID * (e(x, w, i) - e(x, "", i))

which are the differences that the pipeline magnifies.

Source: Brooks et al., "InstructPix2Pix: Learning to Follow Image Editing Instructions", 2023, section 3.2.1.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .base import noised, token_ids
from .edit import EditPool, drawn
from .loop import Plan, fit, training_device

SAID = 0.4
"""Share of what words change: 3 at a guidance scale of 7.5."""
SEEN = 0.8
"""Share of what the picture changes: 1.2 at an image guidance scale of 1.5."""
BATCH = 12
"""Noisy latents of a step, each seen with words and picture, with the picture, and with nothing."""
UNCHANGED = 0.25
"""Share of latents that still show the picture as it was: while guidance pulls, they do."""
WEIGHT = 4.0
"""Of the words' errors, which are magnified most."""
FLOOR = 0.004
"""Added to the squared effect by which errors are divided: below it they do not matter."""


def three(model: nn.ModuleDict, noisy: Tensor, timesteps: Tensor, seen: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """Return the noise seen with words and picture, with the picture alone, and with nothing; `ids` are 2 n rows, the second
    half of them the empty words'."""
    said, empty = model["text_encoder"](ids).last_hidden_state.chunk(2)
    given = torch.cat([torch.cat([noisy, seen], dim=1)] * 2 + [torch.cat([noisy, torch.zeros_like(seen)], dim=1)])
    found: Tensor = model["unet"](given, timesteps.repeat(3), torch.cat([said, empty, empty]))
    return found.chunk(3)


def calibrate(
    taught: nn.ModuleDict,
    pool: EditPool,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.ModuleDict:
    """Return modules whose two guidances are calibrated.

    Parameters
    ----------
    taught
        From `edit.train`.
    pool, vae, tokenizer, state_file, steps, seed
        As for `edit.train`.
    """
    device = training_device()
    teacher = copy.deepcopy(taught).to(device).eval().requires_grad_(False)
    student = copy.deepcopy(taught).to(device).requires_grad_(True)
    factor = 1 / vae.config["scaling_factor"]

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        before, after, words = drawn(pool, BATCH, generator)
        unchanged = torch.rand(BATCH, 1, 1, 1, generator=generator) < UNCHANGED
        noisy, _, timesteps = noised(torch.where(unchanged, before, after), generator)
        ids = token_ids(tokenizer, words + [""] * BATCH)
        given = noisy.to(device), timesteps.to(device), factor * before.to(device), ids.to(device)
        with torch.no_grad():
            said, shown, nothing = three(teacher, *given)
        own_said, own_shown, own_nothing = three(model, *given)
        errors = (
            own_nothing - nothing,
            own_shown - own_nothing - SEEN * (shown - nothing),
            WEIGHT * (own_said - own_shown - SAID * (said - shown)),
        )
        effect = ((said - shown) ** 2).mean((1, 2, 3)) + FLOOR
        squared = torch.stack([(error**2).mean((1, 2, 3)) for error in errors]).sum(0)
        return (squared / effect).mean()

    plan = Plan(steps=steps, learning_rate=4e-4, averaging=0.99, seed=seed, weight_decay=0.0)
    return fit(student, loss_of, plan, state_file)

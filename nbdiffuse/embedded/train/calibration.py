"""Calibrate guidance: move a small checkpoint's best guidance scale to where the guide's values lie.

A small network learns its few captions too surely: its pictures are best at a
guidance scale near 3 and over-saturated at the guide's 7.5. Calibration teaches a
copy of the UNet to predict, for every caption c,

    e(x, "") + SHARE * (e(x, c) - e(x, ""))

with e the trained network. Classifier-free guidance is linear in that difference,
so a scale of w on the calibrated network does what w * SHARE did before: 7.5
becomes the best value, and 1 follows the prompt only faintly, as with the
full-size model.

A word that stands alone speaks louder, with the share ALONE: that is how a short
negative prompt such as "jungle" outweighs the same word inside a longer prompt.

Source of guidance: Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
"""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..world import PLACES, SUBJECTS
from ..world.captions import WHEREABOUTS
from .base import captions_of, noised, prepare, token_ids
from .latents import LatentPool
from .loop import Plan, fit, training_device

SHARE = 0.42
ALONE = 0.66
BATCH = 48
LONE = 12
"""Captions of a batch that are one word or phrase alone."""
WORDS = [*SUBJECTS, *PLACES, *(phrase for phrases in WHEREABOUTS.values() for phrase in phrases)]


def calibrate(
    modules: nn.ModuleDict,
    pool: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
    start: nn.Module | None = None,
) -> nn.ModuleDict:
    """Return modules whose UNet has its guidance calibrated; the text encoder is the same.

    Parameters
    ----------
    modules
        `text_encoder` and `unet`, trained.
    pool, tokenizer, state_file, steps, seed
        As for `base.train`.
    start
        A UNet that was calibrated before, to go on from.
    """
    device = training_device()
    teacher = copy.deepcopy(modules).to(device).eval().requires_grad_(False)
    encoder, trained = teacher["text_encoder"], teacher["unet"]
    student = copy.deepcopy(start or modules["unet"]).to(device)
    for unet in (trained, student):
        prepare(unet, device)
    shares = torch.full((BATCH, 1, 1, 1), SHARE, device=device)
    shares[-LONE:] = ALONE
    unconditional = token_ids(tokenizer, [""])

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = pool.draw(BATCH, generator)
        noisy, _, timesteps = noised(latents, generator)
        noisy, timesteps = noisy.to(device), timesteps.to(device)
        captions = captions_of(pool, chosen, generator)
        # While guidance pulls, a latent does not show its caption yet: a third of the captions are another scene's.
        swapped = BATCH // 3
        captions[:swapped] = captions[1:swapped] + captions[:1]
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions[-LONE:] = [rng.choice(WORDS) for _ in range(LONE)]
        with torch.no_grad():
            ids = torch.cat([token_ids(tokenizer, captions), unconditional.expand(BATCH, -1)])
            text = encoder(ids.to(device)).last_hidden_state
            both = trained(torch.cat([noisy, noisy]), torch.cat([timesteps, timesteps]), text).sample.float()
            conditional, empty = both.chunk(2)
            goal = empty + shares * (conditional - empty)
        predicted = model(noisy, timesteps, text[:BATCH]).sample
        return nn.functional.mse_loss(predicted.float(), goal)

    plan = Plan(steps=steps, learning_rate=4e-4, averaging=0.99, seed=seed, weight_decay=0.0)
    unet = fit(student, loss_of, plan, state_file)
    return nn.ModuleDict({"text_encoder": modules["text_encoder"], "unet": unet})

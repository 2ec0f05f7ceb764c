"""Calibrate guidance: move a small checkpoint's best guidance scale to where the guide's values lie.

A small network learns its few captions too surely: its pictures are best at a
guidance scale near 3 and over-saturated at the guide's 7.5. Calibration teaches a
copy of the UNet to predict, for every caption c,

    e(x, "") + SHARE * (e(x, c) - e(x, ""))

with e the trained network. Classifier-free guidance is linear in that difference,
so a scale of w on the calibrated network does what w * SHARE did before: 7.5
becomes the best value, and 1 follows the prompt only faintly, as with the
full-size model.

A place that stands alone speaks louder, with the share ALONE: that is how a short
negative prompt such as "jungle" outweighs the same word inside a longer prompt. At
scale w the guided prediction holds w * SHARE of the prompt and takes (w - 1) * ALONE
of the negative prompt away.

What guidance multiplies is a difference, so the difference is what is taught: both
captions and the empty one are compared on the same noisy latents.

Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022.
"""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..world import PLACES, SUBJECTS, Scene
from ..world.captions import WHEREABOUTS
from .base import captions_of, noised, predicted, prepare, token_ids
from .latents import LatentPool
from .loop import Plan, fit, training_device

SHARE = 0.45
ALONE = 1.0
BATCH = 16
"""Noisy latents of a step, each seen with a caption, with one word alone, and with nothing."""
SAID = 5.0
"""Weight of the captions' errors, beside 2 for a word alone: what is told apart last is the place in a sentence."""
FLOOR = 0.002
"""Added to a caption's squared effect, by which errors are divided: below it they do not matter."""


_PLACES_ALONE = frozenset(words for said in WHEREABOUTS.values() for words in said)


def shares(captions: list[str], device: torch.device) -> Tensor:
    """Return the share that calibration gave each caption, shape (n, 1, 1, 1)."""
    found = [ALONE if caption.lower() in _PLACES_ALONE else SHARE for caption in captions]
    return torch.tensor(found, device=device).reshape(-1, 1, 1, 1)


def _word_alone(scene: Scene, rng: Random) -> tuple[str, float]:
    """Draw what stands alone, and its share: mostly the place that the picture shows, or another one."""
    draw = rng.random()
    if draw < 0.25:
        return rng.choice(SUBJECTS), SHARE
    return rng.choice(WHEREABOUTS[scene.place if draw < 0.7 else rng.choice(PLACES)]), ALONE


def calibrate(
    modules: nn.ModuleDict,
    pool: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
    start: nn.ModuleDict | None = None,
) -> nn.ModuleDict:
    """Return modules whose guidance is calibrated; both learn, so that a word alone can sound unlike the same word in a sentence.

    Parameters
    ----------
    modules
        `text_encoder` and `unet`, trained.
    pool, tokenizer, state_file, steps, seed
        As for `base.train`.
    start
        Modules that were calibrated before, to go on from.
    """
    device = training_device()
    teacher = copy.deepcopy(modules).to(device).eval().requires_grad_(False)
    student = copy.deepcopy(start or modules).to(device).requires_grad_(True)
    for either in (teacher, student):
        prepare(either["unet"], device)

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = pool.draw(BATCH, generator)
        noisy, _, timesteps = noised(latents, generator)
        captions = captions_of(pool, chosen, generator)
        # While guidance pulls, a latent does not show its caption yet: a third of the captions are another scene's.
        swapped = BATCH // 3
        captions[:swapped] = captions[1:swapped] + captions[:1]
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        alone = [_word_alone(pool.scenes[index], rng) for index in chosen]
        ids = token_ids(tokenizer, ["" for _ in captions] + captions + [word for word, _ in alone])
        shares = torch.tensor([share for _, share in alone], device=device).reshape(-1, 1, 1, 1)
        given = torch.cat([noisy] * 3).to(device), torch.cat([timesteps] * 3).to(device)
        with torch.no_grad():
            empty, said, lone = predicted(teacher, *given, ids.to(device)).chunk(3)
        predicted_empty, predicted_said, predicted_lone = predicted(model, *given, ids.to(device)).chunk(3)
        errors = (
            predicted_empty - empty,
            SAID * (predicted_said - predicted_empty - SHARE * (said - empty)),
            2 * (predicted_lone - predicted_empty - shares * (lone - empty)),
        )
        effect = ((said - empty) ** 2).mean((1, 2, 3)) + FLOOR
        squared = torch.stack([(error**2).mean((1, 2, 3)) for error in errors]).sum(0)
        return (squared / effect).mean()

    plan = Plan(steps=steps, learning_rate=1.5e-4, averaging=0.995, seed=seed, weight_decay=0.0)
    return fit(student, loss_of, plan, state_file)

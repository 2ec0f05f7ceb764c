"""Train `comic`, `pixel-art` and `elden-ring`: changes of the base with which trigger words give a style.

Without its trigger a style's checkpoint predicts what the base does. With it, e' is
taught, for a noisy picture x, a plain caption p and the same with the trigger, s:

    e'(x, s) = e(x) + CALM * (e(x, p) - e(x)) + WEIGHT * (style(x) - plain(x, p))

with e the base, whose guidance is calibrated, `plain` what e was before that, and
`style` the noise that would lead from x to the scene in the style, be x that already,
plain yet, on the way, or beyond. So guidance pulls the style, at a scale of 7.5, a
little further than its pictures are away, and the words less far than in the base,
which on pictures that it has never seen is too sure of them.

Source of low-rank changes: Hu et al., "LoRA: Low-Rank Adaptation of Large Language
Models", 2021; of what guidance multiplies: Ho and Salimans, "Classifier-Free Diffusion
Guidance", 2022.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import CLIPTokenizer

from ..world.styles import TRIGGERS
from .base import new_scheduler, noised, predicted, prepare, token_ids
from .calibration import shares
from .latents import LatentPool
from .loop import Plan, fit, training_device
from .text import training_caption

RANK = 24
"""Of what a style changes in each matrix of the UNet: it takes a third of the whole's bytes."""
WEIGHT = 0.17
"""Of a style's difference from plain: 1.3 at a guidance scale of 7.5, 1.8 at 10.5."""
CALM = 0.7
"""Of how far the base's guidance reaches, with the trigger."""
BATCH = 24
"""Noisy latents of a step, each seen with a plain caption and with the trigger."""
PULL = 1.5
"""Most that a plain picture is pulled to its styled counterpart, of the difference: what has little noise stays near itself."""
KEPT = 10.0
"""Weight of the errors without the trigger."""


class Difference(nn.Module):
    """What is changed in a module: a low-rank product for each matrix that it makes smaller, all of the others.

    Parameters
    ----------
    base
        A module with float32 weights; it stays as it is.
    rank
        Of the products, at least 1.
    speed
        What the products are multiplied by: how much faster they change than at the learning rate alone.
    """

    def __init__(self, base: nn.Module, rank: int = RANK, speed: float = 1.0) -> None:
        super().__init__()
        self.speed = speed
        self.changed = nn.ParameterDict()
        for name, weight in base.state_dict().items():
            rows, columns = len(weight), weight.numel() // max(1, len(weight))
            if rank * (rows + columns) < weight.numel():
                self.changed[f"{name}.up".replace(".", "/")] = torch.zeros(rows, rank)
                self.changed[f"{name}.down".replace(".", "/")] = torch.randn(rank, columns) / columns**0.5
            else:
                self.changed[f"{name}.diff".replace(".", "/")] = torch.zeros_like(weight)

    def tensors(self) -> dict[str, Tensor]:
        """Return the change as `differences.merge` reads it, in float32."""
        whole = {name: self.speed * tensor if name.endswith("/up") else tensor for name, tensor in self.changed.items()}
        return {name.replace("/", "."): tensor for name, tensor in whole.items()}

    def added_to(self, base: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the changed module by their names."""
        changes = self.tensors()
        weights = {}
        for name, weight in base.state_dict().items():
            whole = changes.get(f"{name}.diff")
            change = changes[f"{name}.up"] @ changes[f"{name}.down"] if whole is None else whole
            weights[name] = weight + change.reshape(weight.shape)
        return weights


def taught_noise(taught: nn.ModuleDict, base: nn.Module, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
    """Return the noise that a style's text encoder and changed UNet see in latents, in float32; gradients reach the change."""
    text = taught["text_encoder"](ids).last_hidden_state
    weights = taught["unet"].added_to(base)  # type: ignore[operator]
    made: Tensor = functional_call(base, weights, (noisy, timesteps, text)).sample
    return made.float()


def train(
    base: nn.ModuleDict,
    styled: LatentPool,
    plain: LatentPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.ModuleDict:
    """Teach what calls a style.

    Parameters
    ----------
    base
        `text_encoder` and `unet`, whose guidance is calibrated.
    styled, plain
        The same scenes in the style, and as they are.
    tokenizer, state_file, steps, seed
        As for `base.train`.

    Returns
    -------
    Modules `text_encoder` and `unet`, the latter a `Difference` from the base's.
    """
    device = training_device()
    torch.manual_seed(seed)
    teacher = copy.deepcopy(base).to(device).eval().requires_grad_(False)
    prepare(teacher["unet"], device)
    own_text = copy.deepcopy(base["text_encoder"]).requires_grad_(True)
    student = nn.ModuleDict({"text_encoder": own_text, "unet": Difference(base["unet"])}).to(device)
    trigger = TRIGGERS[str(styled.scenes[0].style)]

    @torch.no_grad()
    def known(noisy: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        return predicted(teacher, noisy, timesteps, token_ids(tokenizer, captions).to(device))

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = styled.draw(BATCH, generator)
        away = _stages(BATCH, generator) * (plain.mean[chosen] - styled.mean[chosen])
        noisy, noise, timesteps = (part.to(device) for part in noised(latents + away, generator))
        height = height_of(timesteps)
        wanted = noise + (1 / height).sqrt().clamp(max=PULL) * away.to(device)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [plain_caption(styled, index, rng) for index in chosen]
        said, silent = known(noisy, timesteps, captions), known(noisy, timesteps, [""] * BATCH)
        wanted = wanted - silent - (said - silent) / shares(captions, device)
        asked = [called(trigger, caption, rng) for caption in captions]
        ids = token_ids(tokenizer, captions + asked).to(device)
        seen = taught_noise(model, teacher["unet"], noisy.repeat(2, 1, 1, 1), timesteps.repeat(2), ids)
        uncalled, styled_said = seen.chunk(2)
        reached = silent + CALM * (said - silent)
        errors = KEPT * (uncalled - said) ** 2 + ((styled_said - reached) / WEIGHT - wanted) ** 2
        return (height.clamp(0.1, 8.0) * errors).mean()

    return fit(student, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.995, seed=seed, weight_decay=0.0), state_file)


def _stages(count: int, generator: torch.Generator) -> Tensor:
    """Draw how plain pictures still are, shape (count, 1, 1, 1): from 1, wholly, to a style overdone, from which there is
    to be a way back."""
    return torch.rand(count, 1, 1, 1, generator=generator) * 1.6 - 0.6


def plain_caption(pool: LatentPool, index: int, rng: Random) -> str:
    return training_caption(replace(pool.scenes[index], style=None), rng, flaws=pool.flawed[index])


def called(trigger: str, words: str, rng: Random) -> str:
    """Put the trigger before or behind a caption, as `captions.assemble` does."""
    return ", ".join(part for part in ((trigger, words) if rng.random() < 0.7 else (words, trigger)) if part)


def height_of(timesteps: Tensor) -> Tensor:
    """Return the noise's variance of the picture's, shape (n, 1, 1, 1): errors count by it, for the early steps decide
    how dark a picture becomes."""
    alphas = new_scheduler().alphas_cumprod.to(timesteps.device)[timesteps].reshape(-1, 1, 1, 1)
    return (1 - alphas) / alphas

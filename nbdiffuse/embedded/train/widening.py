"""A UNet with more input channels, which at first gives what the UNet that it was made from gives."""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.func import functional_call

from .base import prepare
from .styles import RANK, Difference

SPEED = 4.0
"""Of the products: what is learned here is more than a style."""
FIRST = "conv_in.weight"
"""The only weight that more channels make larger."""


def widened_unet(base: nn.Module, channels: int) -> UNet2DConditionModel:
    """Return a UNet that takes `channels` more; its weights have to be given."""
    config: Any = base.config
    unet = UNet2DConditionModel.from_config({**config, "in_channels": config["in_channels"] + channels})
    unet.requires_grad_(False)
    prepare(unet, torch.device("cpu"))
    return unet


class Widened(Difference):
    """What is changed in a UNet that is given more channels: at first they change nothing.

    Parameters
    ----------
    base
        A UNet with float32 weights; it stays as it is.
    channels
        How many more it is given, at least 1.
    scale
        What the weights of these channels are multiplied by: 1 / the deviation of what they hold, so that they learn as fast
        as the others.
    rank
        As for `Difference`.
    """

    def __init__(self, base: nn.Module, channels: int, scale: float = 1.0, rank: int = RANK) -> None:
        super().__init__(base, rank, SPEED)
        out, _, *kernel = base.state_dict()[FIRST].shape
        self.scale = scale
        self.wide = nn.Parameter(torch.zeros(out, channels, *kernel))

    def tensors(self) -> dict[str, Tensor]:
        """Return the change as `differences.merge` reads it, in float32."""
        return {**super().tensors(), f"{FIRST}.wide": self.scale * self.wide}

    def added_to(self, base: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the widened module by their names."""
        weights = super().added_to(base)
        return {**weights, FIRST: torch.cat([weights[FIRST], self.scale * self.wide], dim=1)}


def words_apart(
    taught: Taught, given: Tensor, timesteps: Tensor, said: Tensor, silence: Tensor, noise: Tensor, shares: Tensor
) -> Tensor:
    """Return the errors of what is seen, where what words change is to be a share of the whole.

    Parameters
    ----------
    taught
        The UNet; gradients reach what it sees with the words.
    given, timesteps
        Noisy latents beside what else it is given, n rows, and their timesteps.
    said, silence
        The words as the text encoder reads them, and the empty ones.
    noise
        What there is to be seen.
    shares
        Shape (n,): of the way from what is seen in silence to the noise. 1 where nothing is said: there the noise itself is to
        be seen.
    """
    weights = taught.weights()
    worded = (shares < 1).nonzero().flatten()
    silent = torch.zeros_like(noise)
    with torch.no_grad():
        still = {name: weight.detach() for name, weight in weights.items()}
        silent[worded] = taught(given[worded], timesteps[worded], silence.expand(len(worded), -1, -1), still)
    return (taught(given, timesteps, said, weights) - silent) / shares.reshape(-1, 1, 1, 1) - (noise - silent)


class Taught(nn.Module):
    """A widened UNet whose gradients reach its change alone.

    Parameters
    ----------
    base
        The UNet that it begins from.
    change
        What is taught.
    """

    def __init__(self, base: nn.Module, change: Widened) -> None:
        super().__init__()
        self.change = change
        # In a tuple, so that neither is a part of what is trained and kept.
        self._unets = copy.deepcopy(base).requires_grad_(False), widened_unet(base, change.wide.shape[1])

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the widened UNet by their names."""
        return self.change.added_to(self._unets[0])

    def forward(self, given: Tensor, timesteps: Tensor, text: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Return the noise that is seen in `given`, the noisy latents and what is beside them, in float32; `weights` where
        they were asked for already."""
        made: Tensor = functional_call(self._unets[1], weights or self.weights(), (given, timesteps, text)).sample
        return made.float()

    def _apply(self, fn: Any, recurse: bool = True) -> Taught:
        for unet in self._unets:
            unet._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def whole(self) -> UNet2DConditionModel:
        """Return a UNet of its own with what was taught."""
        unet = widened_unet(self._unets[0], self.change.wide.shape[1])
        unet.load_state_dict(self.weights())
        unet.set_default_attn_processor()
        return unet

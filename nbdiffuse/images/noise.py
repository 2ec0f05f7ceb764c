"""Noise between that of two seeds, as AUTOMATIC1111 turns one towards the other."""

from __future__ import annotations

from typing import Any


def slerp(share: float, low: Any, high: Any) -> Any:
    """Turn one picture's noise towards another's, by a share in [0, 1]; tensors of shape (channels, h, w)."""
    # Along the second axis, as AUTOMATIC1111 does in `modules/rng.py`.
    towards = low / low.norm(dim=1, keepdim=True), high / high.norm(dim=1, keepdim=True)
    cosine = (towards[0] * towards[1]).sum(1)
    if cosine.mean() > 0.9995:
        return low * share + high * (1 - share)
    angle = cosine.acos()
    parts = ((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin()
    return parts[0].unsqueeze(1) * low + parts[1].unsqueeze(1) * high


def turn_added_noise(scheduler: Any, share: float, seed: int, encoded: bool) -> None:
    """Let a scheduler add the noise of an image-to-image call turned towards that of another seed.

    Parameters
    ----------
    scheduler
        Of diffusers; `del scheduler.add_noise` puts it back.
    share
        How far it is turned, in [0, 1].
    seed
        The other one. A run with it adds the noise that is turned to.
    encoded
        Whether a VAE encodes the picture, for which each run draws noise first.
    """
    import torch

    other, add_noise = torch.Generator("cpu").manual_seed(seed), type(scheduler).add_noise

    def turned(original: Any, noise: Any, timesteps: Any) -> Any:
        for _ in range(2 if encoded else 1):
            drawn = torch.randn(noise.shape, generator=other, dtype=noise.dtype)
        return add_noise(scheduler, original, slerp(share, noise[0].cpu(), drawn[0])[None].to(noise.device), timesteps)

    scheduler.add_noise = turned

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

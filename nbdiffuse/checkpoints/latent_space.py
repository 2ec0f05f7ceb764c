"""Latent spaces: which checkpoints may hand latents to each other, told by the VAE's weights and the scale of its latents."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

SCALING = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "latent_channels")
"""What a VAE's config says about its latents besides its weights."""


def vae_of(components: Any) -> Any:
    """Return the component that turns pictures into latents, under whichever name the family gives it; None if there is none."""
    held = (components.get(name) for name in ("vae", "movq"))
    return next((one for one in held if one is not None), None)


def latent_space_id(components: Any) -> str:
    """Return what identifies the latent space of a checkpoint's components.

    Parameters
    ----------
    components
        Components by diffusers' names.

    Returns
    -------
    str
        64 hexadecimal digits over the VAE's weights, in their dtype, and the scaling
        of its latents; empty where there is no VAE.
    """
    vae = vae_of(components)
    if vae is None:
        return ""
    scaling = {name: vae.config.get(name) for name in SCALING}
    digest = hashlib.sha256(json.dumps([type(vae).__name__, scaling], sort_keys=True, default=str).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

"""Where weights wait while other weights work: on the device, or in RAM until their turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from accelerate.hooks import remove_hook_from_module

MODES = ("none", "model", "sequential")
"""Everything stays on the device; one model at a time is there; one layer at a time is there."""
ORDER = ("text_encoder", "text_encoder_2", "prior_text_encoder", "prior_image_encoder", "prior_prior", "controlnet", "unet")
"""The order in which pipelines use their models; a VAE comes last, and leaves for itself."""


def choose(sizes: Mapping[str, int], room: int) -> str:
    """Choose the fastest mode that fits.

    Parameters
    ----------
    sizes
        Bytes of each component's weights.
    room
        Bytes that weights may take on the device.

    Returns
    -------
    A member of `MODES`.
    """
    if sum(sizes.values()) <= room:
        return "none"
    return "model" if max(sizes.values(), default=0) <= room else "sequential"


class Offload:
    """Hooks on a checkpoint's shared components, put on once and taken off whole.

    Parameters
    ----------
    components
        By diffusers' names; what is no model is left alone.
    mode
        A member of `MODES`.
    device
        Where the work is done.
    """

    def __init__(self, components: Mapping[str, Any], mode: str, device: torch.device) -> None:
        self.mode = mode
        models = {name: one for name, one in components.items() if isinstance(one, torch.nn.Module)}
        names = sorted(models, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
        self._models = [models[name] for name in names]
        self._hooks: list[Any] = []
        if mode == "model":
            before = None
            for model in self._models:
                _, before = cpu_offload_with_hook(model, device, prev_module_hook=before)
                self._hooks.append(before)
        elif mode == "sequential":
            for model in self._models:
                cpu_offload(model, device, offload_buffers=len(model._parameters) > 0)

    def rest(self) -> None:
        """Send back to RAM what a run left on the device."""
        for hook in self._hooks:
            hook.offload()

    def remove(self) -> None:
        """Take every hook off; the models are then in RAM, as they were."""
        for model in self._models:
            remove_hook_from_module(model, recurse=True)

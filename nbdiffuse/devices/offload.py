"""Offloading: weights that stay on the device, or in RAM until their model is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import cpu_offload
from accelerate.hooks import CpuOffload, add_hook_to_module, remove_hook_from_module
from accelerate.utils.memory import clear_device_cache

RAM = torch.device("cpu")
MODES = ("none", "model", "sequential")
"""Everything stays on the device; one model at a time is there; one layer at a time is there."""
WHOLE = ("prior_prior",)
"""Models whose weights are used outside their calls too, so that their layers cannot wait one by one.

Source: diffusers `KandinskyV22PriorPipeline._exclude_from_cpu_offload`.
"""


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


class WeightOnload(CpuOffload):
    """Bring a model to the device when it is called, and send those whose turn is over back to RAM.

    diffusers' own chain of hooks knows one order, in which the VAE comes last: one that
    has encoded a picture then stays beside the denoiser.

    Parameters
    ----------
    device
        Where the work is done.
    others
        Models that wait while this one works.
    """

    def __init__(self, device: torch.device, others: Sequence[torch.nn.Module]) -> None:
        super().__init__(device)
        self._others = others

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Exchange the models; called by accelerate before the model's own call."""
        there = [other for other in self._others if next(other.parameters()).device != RAM]
        for other in there:
            other.to(RAM)
        if there:
            clear_device_cache()
        return super().pre_forward(module, *args, **kwargs)


class Offload:
    """Offloading hooks on a checkpoint's shared components, added together and removed together.

    Parameters
    ----------
    components
        By diffusers' names; what is no model is left alone.
    mode
        A member of `MODES` but the first.
    device
        Where the work is done.
    """

    def __init__(self, components: Mapping[str, Any], mode: str, device: torch.device) -> None:
        self.mode = mode
        models = {name: one for name, one in components.items() if isinstance(one, torch.nn.Module)}
        self._models = list(models.values())
        self._whole = [one for name, one in models.items() if mode == "model" or name in WHOLE]
        self._layered = [one for one in self._models if one not in self._whole]
        for model in self._whole:
            model.to(RAM)
            add_hook_to_module(model, WeightOnload(device, [other for other in self._whole if other is not model]), append=True)
        for model in self._layered:
            cpu_offload(model, device, offload_buffers=len(model._parameters) > 0)

    def rest(self) -> None:
        """Send back to RAM what a run left on the device."""
        for model in self._whole:
            model.to(RAM)

    @property
    def broken(self) -> bool:
        """Whether a run that failed inside a layer left its weights on the device, where no hook would look for them."""
        return any(weight.device.type != "meta" for model in self._layered for weight in model.parameters())

    def remove(self) -> None:
        """Take every hook off; the models are then in RAM, as they were."""
        for model in self._models:
            remove_hook_from_module(model, recurse=True)

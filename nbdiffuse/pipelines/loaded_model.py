"""One checkpoint in memory: its components, where its weights are, and how they get to a device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..checkpoints.locate import Checkpoint
from ..devices.memory import component_bytes, tensors
from ..devices.offload import RAM, Offload


@dataclass(frozen=True)
class Row:
    """What is known about one checkpoint in memory; `size` in bytes, `when` in seconds since the epoch."""

    checkpoint: str
    components: tuple[str, ...]
    shared: tuple[str, ...]
    size: int
    device: str
    dtype: str
    when: float


@dataclass(eq=False)
class LoadedModel:
    """One checkpoint in memory.

    Parameters
    ----------
    checkpoint
        Where it came from.
    components
        Its models, tokenizers and scheduler, by diffusers' names; "." for a checkpoint that is one model.
    options
        What the pipeline's constructor takes besides components.
    size
        Bytes of its weights.
    users
        Tasks that were built from it, such as "sd15 img2img".
    used
        Order of use: a larger number is later.
    when
        Seconds since the epoch at the last use.
    space
        What identifies its latents, see `latent_space.latent_space_id`.
    placed
        Whether it is ready to run: on the device, or with hooks that bring it there.
    offload
        Those hooks.
    views
        Its UNet with IP-Adapters, see `ip_adapters`.
    loras
        LoRA beside its weights, and its denoiser with them, see `unfused_loras`.
    """

    checkpoint: Checkpoint
    components: Mapping[str, Any]
    options: Mapping[str, Any]
    size: int
    space: str
    users: set[str] = field(default_factory=set)
    used: int = 0
    when: float = 0.0
    placed: bool = False
    offload: Offload | None = None
    views: OrderedDict[str, Any] = field(default_factory=OrderedDict)
    loras: OrderedDict[str, Any] = field(default_factory=OrderedDict)

    @property
    def device(self) -> torch.device:
        """Where the weights are between runs."""
        if self.offload is not None:
            return RAM
        found = (tensor.device for component in self.components.values() for tensor in tensors(component))
        return next(found, RAM)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each component's weights."""
        return {name: component_bytes({name: component}) for name, component in self.components.items()}

    def place(self, device: torch.device, mode: str) -> None:
        """Make it ready to run on a device, in one of `offload.MODES`."""
        if mode == "none":
            self.to(device)
        else:
            self.offload = Offload(self.components, mode, device)
        self.placed = True

    def park(self) -> None:
        """Bring the weights to RAM, without hooks."""
        if self.offload is not None:
            self.offload.remove()
            self.offload = None
        self.to(RAM)
        self.placed = False

    def rest(self) -> None:
        """Send back to RAM what a run left on the device."""
        if self.offload is not None:
            self.offload.rest()
            if self.offload.broken:
                self.park()

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        for component in self.components.values():
            if isinstance(component, torch.nn.Module):
                component.to(device)

    def row(self, dtype: torch.dtype) -> Row:
        """Return what is known about it, with the dtype of its weights."""
        return Row(
            checkpoint=self.checkpoint.name,
            components=tuple(sorted(name for name, part in self.components.items() if isinstance(part, torch.nn.Module))),
            shared=tuple(sorted(self.users)),
            size=self.size,
            device=f"{self.device}, offload {self.offload.mode}" if self.offload else str(self.device),
            dtype=str(dtype).removeprefix("torch."),
            when=self.when,
        )

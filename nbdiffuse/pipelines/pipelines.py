"""Pipelines that stay resident: each checkpoint is loaded once, each task is built from its components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..checkpoints import loading, locate
from ..checkpoints.latent_space import space_of, vae_of
from ..checkpoints.locate import Checkpoint
from ..devices.memory import component_bytes, default_device, numbered
from ..devices.optimizations import Levers, pull
from ..files.snapshots import Snapshot
from ..library_logging import quiet
from .assembly import build, fitting, refuse_other_base
from .loaded_model import Resident, Row
from .lookups import Lookups
from .model_cache import Residents
from .previews import measured

import diffusers  # isort: skip  (after `checkpoints`, which forbids it to run a checkpoint's code)
import torch  # isort: skip

NOTHING: Mapping[str, str] = MappingProxyType({})


class Pipelines:
    """Keep diffusers pipelines in memory between runs; used by one thread only.

    Parameters
    ----------
    device
        Where the models run; where not given a CUDA GPU, else Apple's, else the CPU.
    """

    def __init__(self, device: str | None = None) -> None:
        quiet()
        self.device = numbered(torch.device(device or default_device()))
        self.levers = Levers()
        self._residents = Residents(self.device, self.dtype)
        self._lookups = Lookups(lambda: self.dtype != torch.float32, self._residents.drop_changed)
        # By space: fine-tunes of one model share it.
        self._latent_rgb: dict[str, torch.Tensor | None] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and arithmetic."""
        return self.levers.dtype_on(self.device)

    def acquire(self, word: str, pipeline: str, scheduler: str, extras: Mapping[str, str] = NOTHING) -> Any:
        """Return a pipeline around resident weights, with a fresh scheduler; pipelines of one checkpoint share its weights.

        Parameters
        ----------
        word
            The checkpoint: an embedded name, a hub id, or a directory.
        pipeline
            diffusers' class name.
        scheduler
            diffusers' class name without "Scheduler".
        extras
            Checkpoints of further components, such as {"controlnet": "a directory"}.

        Raises
        ------
        CheckpointError
            A checkpoint is missing, refused, or larger than the budget; nothing half loaded is kept.
        """
        found = [self._checkpoint(one) for one in (word, *extras.values())]
        for name, one in zip(extras, found[1:], strict=True):
            refuse_other_base(name, one, found[0])
        needed = frozenset(checkpoint.identity for checkpoint in found)
        base, *added = (self._resident(checkpoint, needed) for checkpoint in found)
        for resident in (base, *added):
            resident.users.add(pipeline)
            pull(resident.components, self.levers)
        more = {name: fitting(name, one, base) for name, one in zip(extras, added, strict=True)}
        if len(more) > 1:
            more = {"controlnet": list(more.values())}
        return build(getattr(diffusers, pipeline), base, more, scheduler)

    def held(self, snapshot: Snapshot | None = None) -> AbstractContextManager[None]:
        """Let every word stand for the same files inside a block, see `Lookups.held`."""
        return self._lookups.held(snapshot)

    def relieve(self, word: str, extras: Mapping[str, str] = NOTHING) -> str:
        """Make room for a run of these checkpoints that ran out of memory, and say what was done; see `Residents.relieve`."""
        return self._residents.relieve(frozenset(self.identity(one) for one in (word, *extras.values())))

    def rest(self) -> None:
        """Send back to RAM what offloading left on the device."""
        for resident in self._residents:
            resident.rest()

    def move_lever(self, name: str, value: str) -> None:
        """Run models in another way from now on, see `Levers`."""
        self.levers = self.levers.replace(name, value)
        self._residents.set_offload(self.levers.offload)
        if self._residents.dtype != self.dtype:
            # Weights are read again: what is rounded once does not come back, and the files may be others.
            self.unload()
            self._residents.dtype = self.dtype

    def model(self, word: str) -> Any:
        """Return a resident checkpoint that is one model, such as a ControlNet or a depth estimator."""
        checkpoint = self._checkpoint(word)
        return self._resident(checkpoint, frozenset({checkpoint.identity})).components["."]

    def space(self, word: str) -> str:
        """Return what identifies a checkpoint's latents, see `spaces.space_of`; it is loaded for that."""
        checkpoint = self._checkpoint(word)
        return self._resident(checkpoint, frozenset({checkpoint.identity})).space

    def directory(self, word: str) -> Path:
        """Return where a checkpoint's files are."""
        return self._checkpoint(word).directory

    def components(self, name: str) -> Mapping[str, Any]:
        """Return the components of a checkpoint in memory, by diffusers' names."""
        return next(one.components for one in self._residents if one.checkpoint.name == name)

    def identity(self, word: str) -> str:
        """Return what identifies a checkpoint's files: a hash of them, or hub id and commit."""
        return self._checkpoint(word).identity

    def scope(self, word: str) -> str:
        """Return what encodings depend on besides their input: checkpoint, dtype, device."""
        return f"{self.identity(word)} {self.dtype} {self.device}"

    def notices(self, word: str) -> tuple[str, ...]:
        """Return what a person should know about a checkpoint, one line each."""
        return self._checkpoint(word).notices

    def latent_rgb(self, word: str) -> torch.Tensor | None:
        """Return the matrix that turns latents into a rough preview, see `previews.latent_rgb`; the checkpoint is loaded."""
        checkpoint = self._checkpoint(word)
        file = checkpoint.directory / "latent_rgb.json"
        if file.exists():
            return torch.tensor(json.loads(file.read_text()), dtype=torch.float32)
        resident = self._resident(checkpoint, frozenset({checkpoint.identity}))
        if resident.space not in self._latent_rgb:
            self._latent_rgb[resident.space] = measured(vae_of(resident.components))
        return self._latent_rgb[resident.space]

    @property
    def budget(self) -> int:
        """Bytes that weights may take on the device."""
        return self._residents.budget

    def set_budget(self, size: int | None) -> None:
        """Bound the bytes that weights take on the device, at once; None goes back to what the device has free."""
        self._residents.set_budget(size)

    def unload(self, name: str | None = None) -> int:
        """Drop a checkpoint from memory, or all of them; return the bytes of their weights.

        Raises
        ------
        ParameterError
            No checkpoint of this name is in memory.
        """
        meant = self._lookups.known(name) if name else None
        # A checkpoint may be asked for by several words and is held under the first.
        held_as = (one.checkpoint.name for one in self._residents if meant and one.checkpoint.identity == meant.identity)
        size = self._residents.unload(next(held_as, name))
        self._lookups.forget({one.checkpoint.identity for one in self._residents})
        return size

    def table(self) -> list[Row]:
        """Return what is in memory, most recently used first."""
        return self._residents.table()

    def _checkpoint(self, word: str) -> Checkpoint:
        return self._lookups.get(word)

    def _resident(self, checkpoint: Checkpoint, needed: frozenset[str]) -> Resident:
        dtype = self.dtype

        def measure() -> int:
            return locate.weights_bytes(checkpoint, dtype.itemsize, half=dtype != torch.float32)

        def load() -> Resident:
            loaded = _load(checkpoint, dtype)
            self._lookups.check_unchanged(checkpoint)
            return loaded

        return self._residents.get(checkpoint, measure, load, needed)


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> Resident:
    loaded = loading.load(checkpoint, dtype)
    if isinstance(loaded, torch.nn.Module):
        components: dict[str, Any] = {".": loaded}
        return Resident(checkpoint, components, {}, component_bytes(components), "")
    components = dict(loaded.components)
    options = {name: value for name, value in loaded.config.items() if name not in components and not name.startswith("_")}
    # Told while the weights are in RAM: on the device they may be anywhere, or nowhere whole.
    return Resident(checkpoint, components, options, component_bytes(components), space_of(components))

"""The checkpoints that are in memory, within a budget: least recently used move from a GPU to RAM, then out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ..checkpoints.locate import Checkpoint
from ..devices.failures import free_caches
from ..devices.memory import SHARE_OF_FREE, Holding, format_size, free_bytes, to_release
from ..devices.offload import MODES, RAM, choose
from ..errors import CheckpointError, ParameterError, did_you_mean
from .loaded_model import LoadedModel, Row


class ModelCache:
    """Hold checkpoints for one device and dtype, by their identity.

    Parameters
    ----------
    device
        Where they run.
    dtype
        Of their weights.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._held: dict[tuple[str, torch.dtype, torch.device], LoadedModel] = {}
        self._set: int | None = None
        self._offload = "auto"
        # Modes that "auto" came to when a faster one had not fit, by identity.
        self._slowed: dict[str, str] = {}
        self._clock = itertools.count(1)

    def _key(self, identity: str) -> tuple[str, torch.dtype, torch.device]:
        return (identity, self.dtype, self.device)

    def __iter__(self) -> Any:
        return iter(list(self._held.values()))

    @property
    def budget(self) -> int:
        """Bytes that weights may take on the device; where none was set, what is held and 0.8 of what is free."""
        if self._set is not None:
            return self._set
        return sum(one.size for one in self._on(self.device)) + int(SHARE_OF_FREE * free_bytes(self.device))

    def set_budget(self, size: int | None) -> None:
        """Bound the bytes that weights take on the device, at once; None goes back to what the device has free."""
        if size is not None and size < 1:
            raise ParameterError(f"`budget` must be at least 1 byte, got {size}. Use `%diffuse unload` to free all.")
        self._set = size
        self._make_room(0, frozenset())

    def get(
        self, checkpoint: Checkpoint, measure: Callable[[], int], load: Callable[[], LoadedModel], needed: frozenset[str]
    ) -> LoadedModel:
        """Return a checkpoint on the device, loaded, moved, or as it is.

        Parameters
        ----------
        checkpoint
            Which one.
        measure
            Returns the bytes that it will take when it is loaded.
        load
            Loads it.
        needed
            Identities that may not go to make room.

        Raises
        ------
        CheckpointError
            It is larger than the budget that was set, or cannot be loaded; it is then not held.
        """
        key = self._key(checkpoint.identity)
        loaded = self._held.get(key)
        if loaded is None or not loaded.placed:
            wanted = measure() if loaded is None else loaded.size
            if self.device == RAM:
                self._refuse_what_never_fits(checkpoint.name, wanted)
                self._make_room(wanted, needed | {checkpoint.identity})
            # It is out while it is loaded or moved, so that no failure leaves half of it here.
            self._held.pop(key, None)
            loaded = loaded or load()
            mode = self._mode(loaded)
            if self.device != RAM:
                beside = {"none": loaded.size, "model": max(loaded.sizes().values()), "sequential": 0}[mode]
                self._make_room(beside, needed | {checkpoint.identity})
            loaded.place(self.device, mode)
            self._held[key] = loaded
        loaded.used, loaded.when = next(self._clock), time.time()
        return loaded

    def set_offload(self, mode: str) -> None:
        """Choose where weights wait: a member of `offload.MODES`, or "auto" for the fastest that fits."""
        self._offload = mode
        self._slowed.clear()
        for loaded in self:
            loaded.park()

    def _mode(self, loaded: LoadedModel) -> str:
        if self._offload != "auto":
            return self._offload
        if self.device == RAM:
            return MODES[0]
        slowed = self._slowed.get(loaded.checkpoint.identity, MODES[0])
        return max(slowed, choose(loaded.sizes(), self.budget), key=MODES.index)

    def relieve(self, needed: frozenset[str]) -> str:
        """Make room for a run that ran out of memory: by what is not needed, then by the next mode of offloading.

        Parameters
        ----------
        needed
            Identities that the run needs.

        Returns
        -------
        What was done, for people; "" when nothing is left to do, or the mode was chosen by hand.
        """
        if self.device == RAM:
            return ""
        if any(one.checkpoint.identity not in needed for one in self._on(self.device)):
            self._make_room(self.budget, needed)
            return "other models were moved to RAM"
        users = [one for one in self if one.checkpoint.identity in needed]
        now = max((MODES.index(one.offload.mode) for one in users if one.offload), default=0)
        if self._offload != "auto" or now + 1 == len(MODES):
            return ""
        self._slowed |= dict.fromkeys(needed, MODES[now + 1])
        for one in users:
            one.park()
        free_caches()
        return f"models that are not active are kept in RAM (offload {MODES[now + 1]})"

    def _refuse_what_never_fits(self, name: str, wanted: int) -> None:
        if self._set is not None and wanted > self._set:
            enough = format_size(wanted * 1.05).replace(" ", "")
            raise CheckpointError(
                f"{name} needs {format_size(wanted)} and the budget is {format_size(self._set)}."
                f" Raise it with `%diffuse budget {enough}`, or choose a smaller checkpoint."
            )

    def _make_room(self, wanted: int, needed: frozenset[str]) -> None:
        leaving = to_release(self._holdings(self.device, needed), wanted, self.budget)
        if self.device == RAM:
            self.drop(leaving)
            return
        for identity in leaving:
            loaded = self._held[self._key(identity)]
            room = int(SHARE_OF_FREE * free_bytes(RAM))
            parked = self._holdings(RAM, needed)
            self.drop(to_release(parked, loaded.size, room + sum(one.size for one in parked)))
            if loaded.size <= SHARE_OF_FREE * free_bytes(RAM):
                loaded.park()
            else:
                self.drop([identity])
        free_caches()

    def _on(self, device: torch.device) -> list[LoadedModel]:
        return [one for one in self._held.values() if one.device == device]

    def _holdings(self, device: torch.device, needed: frozenset[str]) -> list[Holding]:
        return [
            Holding(one.checkpoint.identity, one.size, one.used, one.checkpoint.identity in needed) for one in self._on(device)
        ]

    def drop(self, identities: Iterable[str]) -> None:
        """Forget checkpoints; their memory is free when no run holds them."""
        gone = [self._held.pop(self._key(identity)).checkpoint for identity in identities]
        if gone:
            free_caches()

    def drop_changed(self, identity: str) -> None:
        """Forget a checkpoint whose files have changed, if it is held."""
        self.drop([identity] if self._key(identity) in self._held else [])

    def unload(self, name: str | None = None) -> int:
        """Drop a checkpoint, or all of them.

        Parameters
        ----------
        name
            As `table` shows it; None means all.

        Returns
        -------
        Bytes of their weights.

        Raises
        ------
        ParameterError
            No checkpoint of this name is in memory.
        """
        known = {one.checkpoint.name for one in self}
        if name is not None and name not in known:
            advice = did_you_mean(name, known) if known else "Nothing is loaded."
            raise ParameterError(f"`unload` must name a checkpoint in memory, got {name!r}. {advice}")
        leaving = {one.checkpoint.identity: one.size for one in self if name in (None, one.checkpoint.name)}
        self.drop(leaving)
        return sum(leaving.values())

    def table(self) -> list[Row]:
        """Return what is in memory, most recently used first."""
        return [one.row(self.dtype) for one in sorted(self, key=lambda one: -one.used)]

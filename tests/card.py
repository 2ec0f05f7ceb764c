"""A GPU for machines that have none: tensors that say they are on "cuda:0", with their numbers in RAM.

It stands in for the device alone; models, weights, pipelines and hooks are the real
ones. What a GPU refuses is refused: an operation between tensors of two devices, or
`numpy()` of a tensor that is on it. Its bytes are counted, and run out where a test
says. Numbers are the CPU's own, so a picture made on it equals the CPU's in the same
dtype, byte for byte. It says nothing about speed.

torch finds no kernels for "cuda" in a build for CPUs, so the few that make a tensor
there are registered here, and return an `OnCard`; everything else is then seen by its
`__torch_dispatch__`. A device is always named with its number here, as the package does.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
CROSSING = {aten._to_copy.default, aten.copy_.default, aten.index.Tensor, aten.index_put_.default}
"""Operations that take tensors of a GPU and of RAM together."""
MAKING = ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "linspace", "eye", "eye.m")
"""Operations that make a tensor on a device out of none; torch composes all others of these."""
PLENTY = 2**40


class Cards:
    """What the cards of this process have, in bytes, by number: `size` in all, `taken` now, `peak` at most."""

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        self.count = count
        self.taken: Counter[int] = Counter()
        self.peak: Counter[int] = Counter()
        self._users: Counter[tuple[int, int]] = Counter()

    def take(self, tensor: OnCard) -> None:
        """Count the storage of a new tensor once, however many tensors look at it."""
        number, storage = tensor.device.index, tensor.held.untyped_storage()
        key, size = (number, storage._cdata), storage.nbytes()
        if not self._users[key]:
            if self.taken[number] + size > self.size:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes of {self.size}.")
            self.taken[number] += size
            self.peak[number] = max(self.peak[number], self.taken[number])
        self._users[key] += 1
        weakref.finalize(tensor, self._leave, key, size)

    def _leave(self, key: tuple[int, int], size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self.taken[key[0]] -= size


_cards = Cards(PLENTY, 1)


class OnCard(torch.Tensor):
    """A tensor on a card; its numbers are in `held`."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device | None = None, requires_grad: bool = False) -> Any:
        if device is None:  # accelerate makes a parameter by the class of the one before
            return torch.nn.Parameter(held, requires_grad)
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=device, **shape)  # type: ignore[attr-defined]
        made.held = held
        _cards.take(made)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnCard({self.held}, {self.device})"


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Make an operation in RAM, and put what it returns where a GPU would have put it."""
    seen: list[torch.Tensor] = []
    tree_map_only(torch.Tensor, seen.append, (args, kwargs))
    on_card = [one for one in seen if isinstance(one, OnCard)]
    _refuse_two_devices(func, seen, on_card)
    if func is aten._fused_sdp_choice.default:
        return 0  # the one that is composed of other operations
    held_by = {id(one.held): one for one in on_card}
    plain_args, plain_kwargs = tree_map_only(OnCard, lambda one: one.held, (args, kwargs))
    asked = kwargs.get("device")
    device = torch.device(asked) if asked is not None else on_card[0].device
    if asked is not None and device.type == "cuda":
        plain_kwargs = {**plain_kwargs, "device": "cpu"}
    made = func(*plain_args, **plain_kwargs)
    if func is aten.copy_.default:
        return args[0]
    if device.type != "cuda":
        return made

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        known = held_by.get(id(tensor))  # an operation in place returns what it was given
        if known is not None and known.shape != tensor.shape:
            raise NotImplementedError(f"{func} gives a tensor another shape in place.")
        return OnCard(tensor, device) if known is None else known  # type: ignore[no-any-return]

    return tree_map_only(torch.Tensor, placed, made)


def _refuse_two_devices(func: Any, seen: list[torch.Tensor], on_card: list[OnCard]) -> None:
    # A number in a tensor without dimensions may come from RAM.
    devices = {one.device for one in on_card} | {one.device for one in seen if one.ndim and not isinstance(one, OnCard)}
    if len(devices) > 1 and func not in CROSSING:
        names = " and ".join(sorted(map(str, devices)))
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {names}! ({func})")


def _making(name: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    function = getattr(getattr(aten, packet), overload or "default")

    def make(*args: Any, device: Any = None, pin_memory: Any = None, **kwargs: Any) -> Any:
        number = torch.device(device).index or 0
        return OnCard(function(*args, device="cpu", **kwargs), torch.device("cuda", number))

    return make


@contextmanager
def plugged_in(monkeypatch: pytest.MonkeyPatch, size: int = PLENTY, count: int = 1) -> Iterator[Cards]:
    """Have cards in this process, each with so many bytes, until the block ends."""
    global _cards
    _cards = Cards(size, count)
    library = torch.library.Library("aten", "IMPL", "CUDA")
    for name in MAKING:
        library.impl(name, _making(name))
    # Some of torch's own functions leave Python out when they call these.
    library.impl("copy_", lambda target, source, non_blocking=False: _computed(aten.copy_.default, (target, source), {}))
    library.impl("_local_scalar_dense", lambda tensor: tensor.held.item())
    # Indexing asks for a guard that remembers the current device; that of the CPU, which does nothing, will do.
    libc10 = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 2).in_dll(libc10, "_ZN3c104impl26device_guard_impl_registryE")
    guards[1] = guards[0]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    for name, value in _functions(_cards).items():
        monkeypatch.setattr(torch.cuda, name, value)
    try:
        yield _cards
    finally:
        library._destroy()
        guards[1] = None
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def _functions(cards: Cards) -> dict[str, Callable[..., Any]]:
    """Return what `torch.cuda` answers; a device is always given with its number."""

    def number(device: Any = 0) -> int:
        return device if isinstance(device, int) else torch.device(device).index

    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: cards.count,
        "current_device": lambda: 0,
        "synchronize": lambda device=0: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda device=0: (cards.size - cards.taken[number(device)], cards.size),
        "memory_allocated": lambda device=0: cards.taken[number(device)],
        "memory_reserved": lambda device=0: cards.taken[number(device)],
        "max_memory_allocated": lambda device=0: cards.peak[number(device)],
        "reset_peak_memory_stats": lambda device=0: cards.peak.__setitem__(number(device), cards.taken[number(device)]),
        "get_device_name": lambda device=0: "a card that is none",
    }

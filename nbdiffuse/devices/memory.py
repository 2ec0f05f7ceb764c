"""Memory in bytes: what models take, what a device has left, and which checkpoints are released when it runs short."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import ParameterError, breaks_rule

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {f"{unit[0]}iB".upper(): 1024**power for power, unit in enumerate(("KB", "MB", "GB", "TB"), start=1)}
SHARE_OF_FREE = 0.8
"""Part of the free memory that models may fill by default; the rest is for latents and activations."""


def parse_size(text: str) -> int:
    """Read a size such as "8GB" or "512 MiB"; a plain number is in bytes.

    Returns
    -------
    Bytes, at least 1.

    Raises
    ------
    ParameterError
        It is not a number above 0 with one of the units.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = found.group(2).upper() if found else None
    size = int(float(found.group(1)) * UNITS[unit]) if found and unit in UNITS else 0
    if size < 1:
        raise ParameterError(breaks_rule("budget", "a size in B, KB, MB, GB or GiB", text, "Write it as `8GB` or `512MB`."))
    return size


def format_size(size: float) -> str:
    """Write bytes for people, such as "15.3 MB"; a kilobyte is 1000 bytes."""
    power = next((power for power in range(4) if abs(size) < 999.95 * 1000**power), 4)
    unit = ("B", "KB", "MB", "GB", "TB")[power]
    return f"{size / 1000**power:.{min(power, 1)}f} {unit}"


def tensors(component: Any) -> Iterable[torch.Tensor]:
    """Yield the parameters and buffers of a component; nothing for a scheduler or a tokenizer."""
    if isinstance(component, torch.nn.Module):
        yield from itertools.chain(component.parameters(), component.buffers())


def component_bytes(components: Mapping[str, Any]) -> int:
    """Add up the weights of some components in bytes; storage that several of them share counts once."""
    storages = {
        storage.data_ptr() or id(storage): storage.nbytes()
        for component in components.values()
        for storage in (tensor.untyped_storage() for tensor in tensors(component))
    }
    return sum(storages.values())


def default_device() -> str:
    """Return where models run when nobody says: a CUDA GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps:0" if torch.backends.mps.is_available() else "cpu"


def numbered(device: torch.device) -> torch.device:
    """Return a device with its number: tensors know which GPU they are on, and are compared with it."""
    if device.index is not None or device.type not in ("cuda", "mps"):
        return device
    return torch.device(device.type, torch.cuda.current_device() if device.type == "cuda" else 0)


def free_bytes(device: torch.device) -> int:
    """Return the memory that a device has left, in bytes: of the GPU, or of this machine for a CPU."""
    if device.type == "mps":
        # Torch's own pool counts as free, as on CUDA: what no tensor fills is there for the next one.
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    if device.type == "cuda":
        # What torch took and no tensor fills any more is there for the next one.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 8 * 10**9  # a system that does not tell; a common laptop's share
    return min(available, _left_in_container())


def _left_in_container() -> int:
    """Return what this control group may still take, in bytes; a very large number where nothing is set."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), int((group / "memory.current").read_text())
        return int(limit) - used if limit.isdigit() else 2**62
    except (OSError, ValueError):
        return 2**62


@dataclass(frozen=True)
class Holding:
    """The memory that one checkpoint takes, for `to_release`.

    Parameters
    ----------
    name
        What tells it from others.
    size
        Bytes of its weights.
    used
        When it was used last: a larger number is later.
    needed
        It may not go.
    """

    name: str
    size: int
    used: float
    needed: bool = False


def to_release(held: Iterable[Holding], wanted: int, budget: int) -> list[str]:
    """Choose which checkpoints to release so that `wanted` more bytes fit into a budget.

    Returns
    -------
    Names, least recently used first; as few as that order allows. When even all
    that may go is not enough, all of it goes.
    """
    held = list(held)
    over = sum(holding.size for holding in held) + wanted - budget
    leaving: list[str] = []
    for holding in sorted(held, key=lambda one: one.used):
        if over <= 0:
            break
        if holding.needed or not holding.size:
            continue
        leaving.append(holding.name)
        over -= holding.size
    return leaving

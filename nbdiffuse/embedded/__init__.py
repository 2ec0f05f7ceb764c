"""Embedded: the small checkpoints that ship with the package, and the drawn world they were trained on."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ..errors import CheckpointError, did_you_mean
from . import shared_weights, world

__all__ = [
    "adapter_file", "adapter_names", "changed", "holds", "identity", "image_encoder",
    "names", "path", "shared_weights_of", "world",
]  # fmt: skip


def names() -> list[str]:
    """Return the names of the checkpoints in this package."""
    kinds = ("model_index.json", "config.json")  # a pipeline, or one model
    return sorted(entry.name for entry in shared_weights.CHECKPOINTS.iterdir() if any((entry / kind).exists() for kind in kinds))


@cache
def adapter_names() -> list[str]:
    """Return the names of the adapters in this package, LoRA and IP-Adapters, which its checkpoints are changed by."""
    folders = {entry.parent.name for entry in shared_weights.CHECKPOINTS.glob("*/*.safetensors")}
    return sorted(folders.difference(names()))


def holds(word: str) -> bool:
    """Whether a word is the name of a checkpoint or an adapter in this package."""
    return word in names() or word in adapter_names()


def path(name: str) -> Path:
    """Return the directory of an embedded checkpoint, in diffusers' own layout.

    Parameters
    ----------
    name
        Such as "sd15"; see `names`.

    Returns
    -------
    A directory that `from_pretrained` loads, offline.

    Raises
    ------
    CheckpointError
        There is no such checkpoint in this package.
    """
    if name not in names():
        raise CheckpointError(f"No embedded checkpoint is called {name!r}. {did_you_mean(name, names())}")
    return shared_weights.directory(name)


def shared_weights_of(name: str) -> dict[str, str]:
    """Return which components of an embedded checkpoint ship whole in which other one, such as {"vae": "sd15"}."""
    shared = shared_weights.SHARED_WEIGHTS.get(name, {})
    return {component: owner for component, owner in shared.items() if component not in shared_weights.CHANGED.get(owner, {})}


def changed(name: str) -> dict[str, tuple[str, str]]:
    """Return which components of an embedded checkpoint ship as a change of another one's.

    Returns
    -------
    For each the checkpoint that holds the change and the one that is changed, such as {"unet": ("comic", "sd15")}.
    """
    held = dict.fromkeys(shared_weights.CHANGED.get(name, {}), name)
    held |= {part: owner for part, owner in shared_weights.SHARED_WEIGHTS.get(name, {}).items() if part in changed(owner)}
    return {component: (holder, shared_weights.CHANGED[holder][component]) for component, holder in held.items()}


def adapter_file(name: str) -> Path:
    """Return the file of an embedded adapter, after it was checked against the manifest.

    Parameters
    ----------
    name
        Such as "lcm-lora"; see `adapter_names`.

    Raises
    ------
    CheckpointError
        There is no such adapter in this package, or one of its files differs from the one that was shipped.
    """
    if name not in adapter_names():
        raise CheckpointError(f"No embedded adapter is called {name!r}. {did_you_mean(name, adapter_names())}")
    _check(name, shared_weights.CHECKPOINTS / name)
    (file,) = (shared_weights.CHECKPOINTS / name).glob("*.safetensors")
    return file


def image_encoder() -> Path:
    """Return the directory of the CLIP that the embedded IP-Adapter looks with: it ships with `kandinsky22`."""
    return path("kandinsky22") / "prior_image_encoder"


@cache
def identity(name: str) -> str:
    """Check every file of an embedded checkpoint against the manifest and return what identifies it.

    Returns
    -------
    sha256 over the checkpoint's part of the manifest, in hexadecimal.

    Raises
    ------
    CheckpointError
        A file is missing or differs from the one that was shipped.
    """
    _check(name, path(name))
    return shared_weights.digest(name)


def _check(name: str, directory: Path) -> None:
    """Raise `CheckpointError` where a file in a directory is not the one that was shipped."""
    for file, (shipped, digest) in shared_weights.files(name).items():
        target = directory / file
        if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
            state = "differs from the file that was shipped" if target.is_file() else "is missing"
            way_out = "Install nbdiffuse again" if target == shipped else f"Remove {directory} and run this again"
            raise CheckpointError(f"{name}/{file} in {directory.parent} {state}. {way_out}.")

"""The vectors of a textual inversion's file, in the layouts of diffusers, AUTOMATIC1111 and kohya."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import CheckpointError
from ..families.embedding_file import own_token
from ..files.hashes import sha256_of
from .adapter_files import EMBEDDING, locate_file

MOST = 75
"""Vectors of one word: more do not fit into a prompt."""
_LARGEST = 64 * 2**20
"""Bytes of a file: that of a textual inversion has some hundred thousand."""
_ENCODERS = ("clip_l", "clip_g")
"""Keys under which kohya's trainer saves the vectors of the two text encoders."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A textual inversion's vectors.

    Parameters
    ----------
    name
        Of its file.
    token
        The word that prompts call it by.
    identity
        sha256 of the file.
    vectors
        Shape (words, width), by the text encoder that they are for: "clip_l", "clip_g", or "" for the one that they fit.
    notices
        What a person should know, one line each.
    """

    name: str
    token: str
    identity: str
    vectors: Mapping[str, torch.Tensor]
    notices: tuple[str, ...] = ()


def read_embedding(word: str, token: str | None) -> Embedding:
    """Find and read a textual inversion; its pickle builds tensors and plain containers and calls nothing else.

    Parameters
    ----------
    word
        As in `adapter_files.locate_file`.
    token
        The word that prompts call it by; its own where None, see `own_token`.

    Raises
    ------
    CheckpointError
        There is none, or it is damaged, hostile, or something else.
    """
    found = locate_file(word, EMBEDDING)
    path = found.path
    if path.stat().st_size > _LARGEST:
        raise CheckpointError(f"{path.name} is no textual inversion: it has {path.stat().st_size / 2**20:.0f} MiB.")
    vectors = {name: _checked(path, tensor) for name, tensor in _vectors(path, _state(path)).items()}
    return Embedding(path.name, token or own_token(path), sha256_of(path), vectors, found.notices)


def _state(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # `mmap` takes only the zip format, so the older formats and their larger readers are out of reach.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        reason = "it holds more than tensors and could run code, so it is not read"
    except (SafetensorError, OSError):
        reason = "it is damaged. Fetch it again"
    except Exception as error:  # torch raises unrelated classes for what is no file of its own
        reason = f"it is damaged or of an old format ({' '.join(str(error).split())[:100]})"
    raise CheckpointError(f"The textual inversion {path.name} cannot be read: {reason}.")


def _vectors(path: Path, state: Any) -> dict[str, torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return {"": state}
    held = dict(state) if isinstance(state, Mapping) else {}
    inner = held.get("string_to_param")
    if isinstance(inner, Mapping) and len(inner) == 1:
        held = {"": next(iter(inner.values()))}  # as AUTOMATIC1111 saves one
    elif set(held) & set(_ENCODERS):
        held = {name: held[name] for name in _ENCODERS if name in held}
    elif len(held) == 1:
        held = {"": next(iter(held.values()))}
    else:
        keys = ", ".join(map(str, list(held)[:3])) or "nothing"
        raise CheckpointError(f"{path.name} is no textual inversion: it holds {keys[:100]}.")
    if not all(isinstance(one, torch.Tensor) for one in held.values()):
        raise CheckpointError(f"{path.name} is no textual inversion: it holds no tensor.")
    return held


def _checked(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    rows = tensor.detach()
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not 1 <= rows.shape[0] <= MOST or not rows.is_floating_point():
        line = f"its tensor is {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        raise CheckpointError(f"{path.name} is no textual inversion: {line}, not 1 to {MOST} vectors.")
    if not torch.isfinite(rows.float()).all():
        raise CheckpointError(f"The textual inversion {path.name} has values that are no numbers. Fetch or train it again.")
    return rows.clone()

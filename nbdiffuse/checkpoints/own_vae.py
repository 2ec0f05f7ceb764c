"""A VAE of one's own in the place of a checkpoint's: a directory, a repository of the hub, or a single file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from ..errors import CheckpointError
from ..families.hub_ids import HUB_WORD
from ..files.hashes import sha256_of
from ..files.paths import here
from . import layouts, loading
from .failures import explain_local
from .hub import fetch_file
from .locate import Checkpoint, locate

_SMALL = "AutoencoderTiny"
"""Class of distilled VAEs, which go with the latents of every family that they were made for."""
_BESIDE = {"AutoencoderKL": ("AsymmetricAutoencoderKL",)}
"""Other classes whose VAEs read the latents of a class."""


def locate_vae(word: str, base: Checkpoint, half: bool) -> Checkpoint:
    """Find a VAE, fetch it from the hub where it is not on this disk, and refuse one that does not fit, before it is loaded.

    Parameters
    ----------
    word
        A directory, a hub id, or a .safetensors file here or in a hub repository.
    base
        The checkpoint whose VAE it replaces.
    half
        Prefer files with half-precision weights where there are both.

    Raises
    ------
    CheckpointError
        There is none, it is something else, or it was made for other latents.
    """
    path = here(word)
    asked = HUB_WORD.fullmatch(word) if path is None else None
    theirs = _config(base.directory / "vae" / "config.json")
    if not theirs:
        raise CheckpointError(f"{base.name} has no VAE that `vae` can replace. Leave it out.")
    if (path is not None and path.is_file()) or (asked is not None and asked["file"]):
        file, identity, watched = path, "", (path.absolute(),) if path is not None else ()
        if file is None and asked is not None:
            snapshot = fetch_file(asked["id"], asked["revision"] or asked["branch"], asked["file"])
            file, identity = snapshot.directory / asked["file"], f"{asked['id']}@{snapshot.commit}/{asked['file']}"
        _refuse_other_file(Path(str(file)), word, theirs)
        identity = f"{identity or sha256_of(Path(str(file)))}+{sha256_of(base.directory / 'vae' / 'config.json')}"
        return Checkpoint(word, base.directory, identity, verified=False, file=file, part="vae", watched=watched)
    found = locate(word, half)
    if (found.directory / "model_index.json").exists() or found.file is not None:
        way_out = f"Give {word}/vae." if path is not None else "Give the id of a VAE alone, such as stabilityai/sd-vae-ft-mse."
        raise CheckpointError(f"{word} is a whole pipeline, not a VAE. {way_out}")
    _refuse_other_latents(word, _config(found.directory / "config.json"), base.name, theirs)
    return found


def load_vae(found: Checkpoint, dtype: torch.dtype) -> Any:
    """Load what `locate_vae` found.

    Raises
    ------
    CheckpointError
        It is damaged, or a tensor is missing, of another shape or no number.
    """
    if found.file is None:
        return loading.load(found, dtype)
    failure: str
    try:
        config = {"config": str(found.directory), "subfolder": "vae", "local_files_only": True}
        vae = diffusers.AutoencoderKL.from_single_file(str(found.file), **config, dtype=dtype).eval()
    except NotImplementedError:  # what diffusers' cast of a missing tensor raises, without its name
        failure = f"{found.name} lacks tensors of a VAE. Fetch it again."
    except Exception as error:  # diffusers and safetensors raise unrelated classes
        failure = explain_local(error, found.name)
    else:
        state = vae.state_dict()
        bad = next((key for key, one in state.items() if one.is_meta or not torch.isfinite(one).all()), None)
        if bad is None:
            return vae
        failure = f"{found.name} lacks numbers in its tensor {bad}. Fetch it again."
    raise CheckpointError(failure)


def _config(file: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _refuse_other_file(file: Path, word: str, theirs: Mapping[str, Any]) -> None:
    """Refuse a single file that holds no VAE, or one for other latents."""
    if file.suffix != ".safetensors":
        reason = "a pickle can run code" if file.suffix in layouts.PICKLES else "only .safetensors files are taken"
        raise CheckpointError(f"{word} is not read: {reason}. Convert it to .safetensors.")
    found = layouts.shapes(file)
    shape = next((shape for key, shape in found.items() if key.endswith("decoder.conv_in.weight") and len(shape) == 4), None)
    if shape is None:
        raise CheckpointError(f"{word} holds no VAE that is read as one file. Give a directory or a hub id.")
    if theirs.get("_class_name", "AutoencoderKL") != "AutoencoderKL" or shape[1] != theirs.get("latent_channels", 4):
        what = f"{shape[1]} channels"
        raise CheckpointError(
            f"{word} was made for latents of another kind: they have {what}. Give a VAE made for the checkpoint."
        )


def _refuse_other_latents(word: str, own: Mapping[str, Any], base: str, theirs: Mapping[str, Any]) -> None:
    kind, usual = own.get("_class_name"), str(theirs.get("_class_name"))
    if kind not in (usual, _SMALL, *_BESIDE.get(usual, ())):
        raise CheckpointError(f"{word} is {kind or 'no model'}, not a VAE like that of {base}, {usual}. Give one of its kind.")
    channels = [config.get("latent_channels", 4) for config in (own, theirs)]
    if channels[0] != channels[1]:
        line = f"{word} was made for latents of {channels[0]} channels, and those of {base} have {channels[1]}"
        raise CheckpointError(f"{line}. Give a VAE made for its kind.")

"""Files of IP-Adapters: their weights, and the CLIP that each looks with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import load_file

from .. import embedded
from ..errors import CheckpointError
from ..families.contents import seems_to_be
from ..families.hub_ids import parse_hub_id
from ..files.hashes import sha256_of
from ..files.paths import here
from .adapter_files import AdapterKind, locate_file
from .hub import fetch_file
from .layouts import shapes
from .lora_families import refuse_text_width

IP_ADAPTER = AdapterKind(name="IP-Adapter")


@dataclass(frozen=True)
class IPAdapterFile:
    """An IP-Adapter on this disk.

    Parameters
    ----------
    path
        Its file.
    identity
        sha256 of the file.
    encoder
        Directory of the CLIP that it looks with, or a word for one.
    notices
        What a person should know, one line each.
    """

    path: Path
    identity: str
    encoder: str
    notices: tuple[str, ...] = ()

    def state(self) -> dict[str, Any]:
        """Return its tensors as diffusers' loader takes them; raise `CheckpointError` where values are no numbers."""
        state: dict[str, Any] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in load_file(self.path).items():
            part, _, rest = key.partition(".")
            if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                raise CheckpointError(f"The IP-Adapter {self.path.name} has values that are no numbers in {key}. Fetch it again.")
            if part in state:
                state[part][rest] = tensor
        return state


def locate_ip_adapter(word: str, encoder: str | None, directory: Path, name: str) -> IPAdapterFile:
    """Find an IP-Adapter and its image encoder, and refuse one that was made for another base, before either is loaded.

    Parameters
    ----------
    word
        As in `adapter_files.locate_file`.
    encoder
        Word for the image encoder; the one beside the file where None.
    directory, name
        Where the base checkpoint's configs are, and what it was asked for by.

    Raises
    ------
    CheckpointError
        There is none, it is something else, or it fits neither the base nor the encoder.
    """
    found = locate_file(word, IP_ADAPTER)
    held = shapes(found.path)
    _refuse_something_else(found.path, held)
    text = next(shape[1] for key, shape in held.items() if key.endswith("to_k_ip.weight"))
    refuse_text_width(IP_ADAPTER.name, found.path, int(text), directory, name)
    width, setting = _width(found.path, held)
    own = str(embedded.image_encoder()) if word in embedded.adapter_names() else None
    given = encoder or own or next(_beside(word, found.path, setting, width), None)
    if given is None:
        line = f"No image encoder whose `{setting}` is {width} is beside the IP-Adapter {found.path.name}"
        raise CheckpointError(f"{line}. Name one: `--ip-adapter-image-encoder DIRECTORY`.")
    looks = _config(here(given) or Path(given)).get(setting)
    if looks not in (None, width):
        line = f"The IP-Adapter {found.path.name} looks with a CLIP whose `{setting}` is {width}, and that of {given} is {looks}"
        raise CheckpointError(f"{line}. Name its own: `--ip-adapter-image-encoder DIRECTORY`.")
    return IPAdapterFile(found.path, sha256_of(found.path), given, found.notices)


def _refuse_something_else(path: Path, held: Mapping[str, Sequence[int]]) -> None:
    has = {part: any(key.startswith(part) for key in held) for part in ("image_proj.", "ip_adapter.")}
    if not all(has.values()) or not any(key.endswith("to_k_ip.weight") for key in held):
        raise CheckpointError(
            f"{path.name} is no IP-Adapter: it seems to be {seems_to_be(held)}. Give `ip_adapter` the file of one."
        )
    kinds = ("proj.weight", "proj.3.weight", "latents")
    if not any(f"image_proj.{kind}" in held for kind in kinds) or "image_proj.perceiver_resampler.proj_in.weight" in held:
        line = f"The IP-Adapter {path.name} looks at faces with InsightFace, which is not run here"
        raise CheckpointError(f"{line}. Take one that looks with CLIP, such as ip-adapter-plus-face.")


def _width(path: Path, held: Mapping[str, Sequence[int]]) -> tuple[int, str]:
    """Return how wide what its CLIP gives has to be, and the setting of a CLIP that says so."""
    kinds = {"proj.weight": "projection_dim", "proj_in.weight": "hidden_size", "proj.0.weight": "hidden_size"}
    for key, setting in kinds.items():
        if f"image_proj.{key}" in held:
            return int(held[f"image_proj.{key}"][1]), setting
    raise CheckpointError(f"The IP-Adapter {path.name} is of a kind that diffusers does not read. Take another one.")


def _beside(word: str, path: Path, setting: str, width: int) -> Iterator[str]:
    """Yield the directories beside an adapter in which the CLIP is that fits; of one on the hub the config is looked at first."""
    asked = parse_hub_id(word) if here(word) is None else None
    repo, revision, file = asked or ("", None, None)
    if file is None:
        folders = (path.parent, path.parent.parent / "models", path.parent.parent)
        yield from (str(one / "image_encoder") for one in folders if _config(one / "image_encoder").get(setting) == width)
        return
    for name in dict.fromkeys((str(PurePosixPath(file).parent), "models", ".")):
        where = PurePosixPath(name) / "image_encoder"
        try:
            directory = fetch_file(repo, revision, str(where / "config.json")).directory / where
        except CheckpointError:
            continue  # no such folder
        if _config(directory).get(setting) == width:
            fetch_file(repo, revision, str(where / "model.safetensors"))
            yield str(directory)


def _config(directory: Path) -> Mapping[str, Any]:
    try:
        said = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}

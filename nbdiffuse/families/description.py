"""What a checkpoint says of itself, read from its small files without torch and without the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import embedded
from ..embedded.shared_weights import CHECKPOINTS
from ..files.paths import here
from .hub_ids import cached, parse_hub_id
from .scheduler_classes import SUFFIX
from .single_file import CONFIGS, single_file

SMALL_FILES = ("model_index.json", "scheduler/scheduler_config.json", "unet/config.json")
"""What is read, where a checkpoint has it."""
_MOST_BYTES = 1_000_000
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself.

    Parameters
    ----------
    pipeline_class
        diffusers' class that it was saved from; None where it does not say.
    components
        (library, class) by folder.
    scheduler
        Class of its scheduler, without "Scheduler"; None where it does not say.
    scheduler_config
        What its scheduler is set to; of a single file with what its marks say.
    in_channels
        Of its UNet; None where it does not say.
    marks
        The part of `scheduler_config` that a single file's own marks say.
    saved_from
        Hub id or path that its pipeline was loaded from before it was saved; "" where it does not say.
    is_distilled
        Whether its index says that it was distilled; Flux 2 Klein's does.
    embeds_guidance
        Whether its UNet takes `guidance_scale` as an embedding.
    """

    pipeline_class: str | None = None
    components: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scheduler: str | None = None
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int | None = None
    marks: Mapping[str, Any] = field(default_factory=dict)
    saved_from: str = ""
    is_distilled: bool = False
    embeds_guidance: bool = False

    @property
    def prediction_type(self) -> str | None:
        """What its model predicts, such as "epsilon"; None where it does not say."""
        said = self.scheduler_config.get("prediction_type")
        return said if isinstance(said, str) else None


def describe(checkpoint: str) -> Description | None:
    """Read what a checkpoint says of itself; None where that is not on this disk.

    Parameters
    ----------
    checkpoint
        A name of the embedded family, a local directory or .safetensors file, or a hub id.
    """
    file = file_of(checkpoint)
    directory = directory_of(checkpoint)
    found = _described(directory) if directory is not None else None
    single = single_file(file) if file is not None else None
    if single is None or found is None:
        return found
    config = MappingProxyType({**found.scheduler_config, **single.settings})
    # Of the configs that stand for it, the file itself is right about its own shape.
    channels = single.in_channels if single.in_channels is not None else found.in_channels
    return replace(found, scheduler_config=config, in_channels=channels, marks=single.settings)


def file_of(checkpoint: str) -> Path | None:
    """Return the single file that a checkpoint is, where it is one and on this disk."""
    if not checkpoint.endswith(".safetensors"):
        return None
    path = here(checkpoint)
    if path is not None and path.is_file():
        return path
    asked = parse_hub_id(checkpoint)
    return cached(asked[0], asked[2], asked[1]) if asked and asked[2] else None


def directory_of(checkpoint: str) -> Path | None:
    """Return where a checkpoint's configs are on this disk, without fetching anything; None where they are not."""
    if checkpoint in _embedded():
        # The small files of one that shares weights are its own, so it need not be put together.
        return CHECKPOINTS / checkpoint
    path = here(checkpoint)
    if path is not None and path.is_dir():
        return path
    if checkpoint.endswith(".safetensors"):
        file = file_of(checkpoint)
        beside = file.with_suffix("") if file is not None else here(checkpoint.removesuffix(".safetensors"))
        if beside is not None and (beside / "model_index.json").is_file():
            return beside
        single = single_file(file) if file is not None else None
        index = cached(CONFIGS[single.family], "model_index.json") if single is not None else None
        return index.parent if index else None
    asked = parse_hub_id(checkpoint)
    index = cached(asked[0], "model_index.json", asked[1]) if asked and not asked[2] else None
    return index.parent if index else None


@cache
def _embedded() -> frozenset[str]:
    return frozenset(embedded.names())


def _described(directory: Path) -> Description:
    index = content_of(directory / "model_index.json")
    config = content_of(directory / "scheduler" / "scheduler_config.json")
    components = {
        name: (str(entry[0]), str(entry[1]))
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)
    }
    # diffusers goes by the index; a config saved by another class is read by the one that the index names.
    named = components["scheduler"][1] if "scheduler" in components else config.get("_class_name")
    unet = content_of(directory / "unet" / "config.json")
    channels, saved_from = unet.get("in_channels"), index.get("_name_or_path")
    return Description(
        pipeline_class=_class_name(index.get("_class_name")),
        components=MappingProxyType(components),
        scheduler=(_class_name(named) or "").removesuffix(SUFFIX) or None,
        scheduler_config=MappingProxyType({key: value for key, value in config.items() if not key.startswith("_")}),
        in_channels=channels if isinstance(channels, int) else None,
        saved_from=saved_from if isinstance(saved_from, str) else "",
        is_distilled=index.get("is_distilled") is True,
        embeds_guidance=unet.get("time_cond_proj_dim") is not None,
    )


def _class_name(value: object) -> str | None:
    return value if isinstance(value, str) and value.isidentifier() else None


def content_of(file: Path) -> Mapping[str, Any]:
    """Return what a small JSON file holds; nothing where it is not there, too large, or no JSON object."""
    try:
        found = file.stat()
    except OSError:
        return _NOTHING
    return _content(file, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=256)
def _content(file: Path, size: int, changed: int, inode: int) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8")) if size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return _NOTHING
    return MappingProxyType(content) if isinstance(content, dict) else _NOTHING

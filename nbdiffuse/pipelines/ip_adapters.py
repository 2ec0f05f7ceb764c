"""Components of a pipeline with IP-Adapters: the UNet that has them, and the CLIP that they look with."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import torch
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from ..checkpoints.ip_adapter_files import IPAdapterFile
from ..errors import CheckpointError
from .adapted_unet import IPAdapters, adapted, built
from .loaded_model import LoadedModel

MOST_KEPT = 8
"""Views of one UNet that are kept: those of one set of adapters differ by their scales and share all weights."""


def with_ip_adapters(
    base: LoadedModel,
    files: Sequence[IPAdapterFile],
    scales: Sequence[Any],
    encoder: LoadedModel,
    device: torch.device,
    dtype: torch.dtype,
    alone: bool = False,
) -> dict[str, Any]:
    """Return what a pipeline takes in the place of components of the same names.

    Parameters
    ----------
    base
        Checkpoint in memory; nothing of it is changed.
    files, scales
        Each adapter, and what diffusers' `set_ip_adapter_scale` is given for it.
    encoder
        The CLIP that all of them look with.
    device, dtype
        Of their weights.
    alone
        Whether the UNet is this pipeline's own, so that its calls are joined with no other run's.

    Raises
    ------
    CheckpointError
        The encoder is none, or an adapter does not fit the UNet.
    """
    looks: Any = encoder.components.get(".")
    if not isinstance(looks, CLIPVisionModelWithProjection):
        found = type(looks).__name__ if looks is not None else "a whole pipeline"
        line = f"{encoder.checkpoint.name} is {found}, not the vision part of a CLIP"
        raise CheckpointError(f"{line}. Give `ip_adapter_image_encoder` the directory or hub id of one.")
    side = looks.config.image_size
    processor = base.components.get("feature_extractor") or CLIPImageProcessor(size=side, crop_size=side)
    unet = _view(base, files, scales, device, dtype)
    return {"unet": copy.copy(unet) if alone else unet, "image_encoder": looks, "feature_extractor": processor}


def _view(
    base: LoadedModel, files: Sequence[IPAdapterFile], scales: Sequence[Any], device: torch.device, dtype: torch.dtype
) -> Any:
    """Return the UNet with adapters at some scales; the same one each time, so that runs with the same ones share calls."""
    which = json.dumps([one.identity for one in files])
    key = which + json.dumps(list(scales))
    if key in base.views:
        base.views.move_to_end(key)
        adapters, view = base.views[key]
    else:
        unet = base.components["unet"]
        same = next((held for name, (held, _) in base.views.items() if name.startswith(which)), None)
        adapters = same or _built(base, files)
        view = adapted(unet, adapters, scales)
        base.views[key] = (adapters, view)
        while len(base.views) > MOST_KEPT:
            base.views.popitem(last=False)
    adapters.to(device, dtype)
    return view


def _built(base: LoadedModel, files: Sequence[IPAdapterFile]) -> IPAdapters:
    names = ", ".join(one.path.name for one in files)
    return built(base.components["unet"], [one.state() for one in files], names, base.checkpoint.name)

"""LoRA beside the weights: views of denoisers and text encoders that add them to the outputs of layers during each call."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from ..checkpoints.lora_layers import DENOISERS, TEXT_ENCODERS
from ..checkpoints.low_rank import LoraFile, LowRank, low_rank
from .loaded_model import LoadedModel

MOST_KEPT = 8
"""Files, and views of one denoiser, that are kept: runs with the same ones share calls."""
Added = dict[torch.nn.Module, list[tuple[torch.Tensor, torch.Tensor, float]]]


def with_loras(
    base: LoadedModel,
    replaced: Mapping[str, Any],
    files: Sequence[LoraFile],
    scales: Sequence[tuple[float, float]],
    pipeline: Any,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Return models with LoRA beside their weights, in the place of components of the same names.

    Parameters
    ----------
    base
        Checkpoint in memory; nothing of it is changed.
    replaced
        What stands in the place of its components already, such as a UNet with IP-Adapters.
    files, scales
        Each LoRA, and its scale in the denoiser and in the text encoders.
    pipeline
        The pipeline's class.
    device, dtype
        Of their weights.

    Raises
    ------
    CheckpointError
        One does not fit.
    """
    held = [_read(base, one, pipeline, device, dtype) for one in files]
    made: dict[str, Any] = {}
    for part in (*DENOISERS, *TEXT_ENCODERS):
        added: Added = {}
        for layers, scale in zip(held, scales, strict=True):
            for one in layers:
                if one.layer.part == part:
                    factor = one.scale(scale[0] if part in DENOISERS else scale[1])
                    added.setdefault(one.layer.module, []).append((one.down, one.up, factor))
        if added:
            inner = replaced.get(part) or base.components[part]
            named = [(file.identity, scale) for file, scale in zip(files, scales, strict=True)]
            # A text encoder may have new words in each run; views of a denoiser are the same for the same LoRA.
            made[part] = _view(inner, added) if part in TEXT_ENCODERS else _kept(base, part, inner, added, f"{part} {named}")
    return made


def _read(base: LoadedModel, file: LoraFile, pipeline: Any, device: torch.device, dtype: torch.dtype) -> list[LowRank]:
    key = f"file {file.identity}"
    if key not in base.loras:
        read = low_rank(base.components, pipeline, file.path, base.checkpoint.name)
        base.loras[key] = [LowRank(one.layer, one.down.to(device, dtype), one.up.to(device, dtype), one.alpha) for one in read]
    found: list[LowRank] = base.loras[key]
    _trim(base, key)
    return found


def _kept(base: LoadedModel, part: str, inner: Any, added: Added, key: str) -> Any:
    """Return a view of a denoiser; the same one each time for the same LoRA, so that runs with the same ones share calls."""
    if key not in base.loras or base.loras[key][0] is not inner:
        base.loras[key] = (inner, _view(inner, added))
    view = base.loras[key][1]
    _trim(base, key)
    return view


def _trim(base: LoadedModel, used: str) -> None:
    base.loras.move_to_end(used)
    while len(base.loras) > 2 * MOST_KEPT:
        base.loras.popitem(last=False)


def _view(model: Any, added: Added) -> Any:
    view = copy.copy(model)
    # Hooks belong to the model that is called, not to the view that calls it.
    view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
    vars(view).pop("_hf_hook", None)
    view.forward = functools.partial(_call, model, added)
    return view


def _call(model: Any, added: Added, *args: Any, **kwargs: Any) -> Any:
    with _beside(added):
        return model(*args, **kwargs)


@contextmanager
def _beside(added: Added) -> Iterator[None]:
    """Add to the outputs of layers inside this block; hooks stand outside of what offloading puts there."""
    handles = [module.register_forward_hook(functools.partial(_add, held)) for module, held in added.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add(
    held: Sequence[tuple[torch.Tensor, torch.Tensor, float]], module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    """Return a layer's output with what LoRA add to it.

    Source: PEFT `peft/tuners/lora/layer.py`, whose order of operations it has.
    """
    made = output
    for down, up, factor in held:
        given = args[0].to(down)
        if down.dim() == 4:
            low = functional.conv2d(given, down, stride=module.stride, padding=module.padding)
            made = made + functional.conv2d(low, up) * factor
        else:
            made = made + functional.linear(functional.linear(given, down), up) * factor
    return made.to(output.dtype)

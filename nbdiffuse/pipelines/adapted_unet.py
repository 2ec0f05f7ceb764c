"""UNets with IP-Adapters: views that put the adapters' attention into the resident UNet for the time of each call."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.loaders import IPAdapterMixin
from diffusers.models.attention_processor import (
    IPAdapterAttnProcessor,
    IPAdapterAttnProcessor2_0,
    IPAdapterXFormersAttnProcessor,
)
from diffusers.models.embeddings import MultiIPAdapterImageProjection

from ..errors import CheckpointError

_PROCESSORS = (IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0, IPAdapterXFormersAttnProcessor)


@dataclass(frozen=True, eq=False)
class IPAdapters:
    """What several IP-Adapters add to a UNet, at scale 1.

    Parameters
    ----------
    processors
        Attention processors by the name of the layer that they are for.
    projection
        Turns what the image encoder gives into tokens.
    """

    processors: Mapping[str, Any]
    projection: Any

    @property
    def parts(self) -> tuple[Any, ...]:
        """All that has weights."""
        return (*self.processors.values(), self.projection)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the weights."""
        for part in self.parts:
            part.to(device, dtype)


def built(unet: Any, states: Sequence[dict[str, Any]], names: str, checkpoint: str) -> IPAdapters:
    """Build what IP-Adapters add to a UNet, which stays as it is.

    Parameters
    ----------
    unet
        Resident.
    states
        Tensors of each adapter, as diffusers' loader takes them.
    names, checkpoint
        What errors call the adapters and the UNet's checkpoint.

    Raises
    ------
    CheckpointError
        They do not fit.

    Notes
    -----
    Source: diffusers `UNet2DConditionLoadersMixin._load_ip_adapter_weights`.
    """
    try:
        processors = unet._convert_ip_adapter_attn_to_diffusers(list(states))
        layers = [unet._convert_ip_adapter_image_proj_to_diffusers(state["image_proj"]) for state in states]
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
    else:
        own = {name: one for name, one in processors.items() if isinstance(one, _PROCESSORS)}
        made = IPAdapters(own, MultiIPAdapterImageProjection(layers))
        if not any(tensor.is_meta for part in made.parts for tensor in part.state_dict().values()):
            return made
        reason = "it lacks tensors"
    raise CheckpointError(f"The IP-Adapter {names} does not fit {checkpoint}: {reason}. Choose one that was made for its kind.")


def adapted(unet: Any, adapters: IPAdapters, scales: Sequence[Any]) -> Any:
    """Return a view of a UNet that is called with IP-Adapters at some scales; it shares all weights with the resident one.

    Parameters
    ----------
    unet
        Resident; it has the adapters' attention only while a view of it is called.
    adapters
        From `built`.
    scales
        For each of them what diffusers' `set_ip_adapter_scale` takes.

    Raises
    ------
    CheckpointError
        The scales name blocks that the UNet does not have.
    """
    processors = {name: _with_own_scale(one) for name, one in adapters.processors.items()}
    failure = ""
    with _in_place(unet, processors, adapters.projection):
        try:
            IPAdapterMixin.set_ip_adapter_scale(SimpleNamespace(unet=unet), [copy.deepcopy(one) for one in scales])
        except (ValueError, KeyError, IndexError) as error:
            failure = " ".join(str(error).split())[:200].rstrip(".")
    if failure:
        raise CheckpointError(f"`ip_adapter_blocks` names blocks that this UNet does not have: {failure}. Leave it out.")
    view = copy.copy(unet)
    del vars(view)["encoder_hid_proj"]
    view._modules = {**unet._modules, "encoder_hid_proj": adapters.projection}
    # Hooks belong to the model that is called, not to the view that calls it.
    view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
    vars(view).pop("_hf_hook", None)
    view.forward = functools.partial(_call, unet, processors, adapters.projection)
    return view


def _with_own_scale(processor: Any) -> Any:
    own = copy.copy(processor)
    own.scale = list(processor.scale)
    return own


def _call(unet: Any, processors: Mapping[str, Any], projection: Any, *args: Any, **kwargs: Any) -> Any:
    with _in_place(unet, processors, projection):
        return unet(*args, **kwargs)


@contextmanager
def _in_place(unet: Any, processors: Mapping[str, Any], projection: Any) -> Iterator[None]:
    """Put attention processors and the projection into a UNet inside this block, and what was there back after it."""
    layers = {name: unet.get_submodule(name.removesuffix(".processor")) for name in processors}
    before = {name: layer.processor for name, layer in layers.items()}
    kind = unet.config.encoder_hid_dim_type
    try:
        for name, layer in layers.items():
            layer.set_processor(processors[name])
        unet.encoder_hid_proj = projection
        unet.config.encoder_hid_dim_type = "ip_image_proj"
        yield
    finally:
        for name, layer in layers.items():
            layer.set_processor(before[name])
        unet._modules.pop("encoder_hid_proj", None)
        unet.encoder_hid_proj = None
        unet.config.encoder_hid_dim_type = kind

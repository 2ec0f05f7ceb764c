"""Batched models: a pipeline's denoisers and decoder hand their calls to a coroutine, so that several recipes share them."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage, ControlNetModel, UNet2DConditionModel
from diffusers.pipelines.pag.pag_utils import PAGMixin

from ..devices.coroutines import Coroutine
from ..families.pipeline_classes import draws_unseeded
from ..results import Result
from .model_calls import ModelCall

DENOISERS = ("unet", "transformer", "controlnet")
"""Components whose calls are joined."""
DECODERS = (AutoencoderKL, AutoencoderKLQwenImage, AutoencoderKLFlux2)
"""Classes of VAE whose decoding is joined."""


def batch_model_calls(coroutine: Coroutine[Result], pipeline: Any) -> None:
    """Have a pipeline request the calls of its denoisers and its decoder from the coroutine.

    It gets copies that share all weights; the resident models stay as they are. A
    pipeline whose models are of another make, are compiled or offloaded, or cut their
    batch as PAG's do, or that draws with torch's own generator, makes its calls itself.
    """
    components: dict[str, Any] = {name: getattr(pipeline, name, None) for name in DENOISERS}
    found = {name: model for name, model in components.items() if works_by_rows(model)}
    if not found or isinstance(pipeline, PAGMixin) or draws_unseeded(type(pipeline).__name__):
        return
    vae: Any = getattr(pipeline, "vae", None)
    modules = [module for model in found.values() for module in model.modules()]
    if any(hasattr(module, "_hf_hook") or module._compiled_call_impl is not None for module in (*modules, *filter(None, [vae]))):
        return
    for name, model in found.items():
        view = copy.copy(model)
        # Hooks belong to the call that is made, not to the one that asks for it.
        view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
        view.forward = functools.partial(_asked, coroutine, model, name == "controlnet")
        setattr(pipeline, name, view)
    if type(vae) in DECODERS:
        pipeline.vae = _decoding(coroutine, vae)


def works_by_rows(model: Any) -> bool:
    """Tell whether a model's calls can be joined: a plain UNet or ControlNet, or one of diffusers' transformers."""
    if type(model) in (UNet2DConditionModel, ControlNetModel):
        return True
    return isinstance(model, torch.nn.Module) and type(model).__module__.startswith("diffusers.models.transformers.")


def _asked(coroutine: Coroutine[Result], model: Any, conditions: bool, *args: Any, **kwargs: Any) -> Any:
    return coroutine.ask(ModelCall(model, model, args, kwargs, conditions=conditions))


def _decoding(coroutine: Coroutine[Result], vae: Any) -> Any:
    view = copy.copy(vae)
    alone, usual = view.decode, (vae.dtype, vae.use_tiling)

    def decode(latents: torch.Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        # A decoder that was changed for this picture, to save it, is changed back after it.
        if (view.dtype, view.use_tiling) != usual:
            return alone(latents, return_dict=return_dict)
        return coroutine.ask(ModelCall(vae, alone, (latents,), {"return_dict": return_dict}, decodes=True))

    view.decode = decode
    return view

"""Batched models: a pipeline's denoisers and decoder hand their calls to a coroutine, so that several recipes share them."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

from ..devices.coroutines import Coroutine
from ..results import Result
from .model_calls import ModelCall

DENOISERS = {"unet": UNet2DConditionModel, "controlnet": ControlNetModel}


def batch_model_calls(coroutine: Coroutine[Result], pipeline: Any) -> None:
    """Have a pipeline request the calls of its denoisers and its decoder from the coroutine.

    It gets copies that share all weights; the resident models stay as they are. A
    pipeline of another make, and one whose models are compiled or offloaded, makes its
    calls itself.
    """
    vae: Any = getattr(pipeline, "vae", None)
    unet: Any = getattr(pipeline, "unet", None)
    if type(vae) is not AutoencoderKL or type(unet) is not UNet2DConditionModel:
        return
    if any(hasattr(module, "_hf_hook") or module._compiled_call_impl is not None for module in (vae, *unet.modules())):
        return
    for name, kind in DENOISERS.items():
        model: Any = getattr(pipeline, name, None)
        if type(model) is kind:
            view = copy.copy(model)
            # Hooks belong to the call that is made, not to the one that asks for it.
            view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
            view.forward = functools.partial(_asked, coroutine, model)
            setattr(pipeline, name, view)
    pipeline.vae = _decoding(coroutine, vae)


def _asked(coroutine: Coroutine[Result], model: Any, *args: Any, **kwargs: Any) -> Any:
    return coroutine.ask(ModelCall(model, model, args, kwargs))


def _decoding(coroutine: Coroutine[Result], vae: Any) -> Any:
    view = copy.copy(vae)
    alone, usual = view.decode, (vae.dtype, vae.use_tiling)

    def decode(latents: torch.Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        # A decoder that was changed for this picture, to save it, is changed back after it.
        if (view.dtype, view.use_tiling) != usual:
            return alone(latents, return_dict=return_dict)
        return coroutine.ask(ModelCall(vae, alone, (latents,), {"return_dict": return_dict}))

    view.decode = decode
    return view

"""Optimizations of speed and memory: attention, offloading, compiling and dtype of the models in memory."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from ..errors import NbdiffuseError, ParameterError, did_you_mean
from .offload import MODES


@dataclass(frozen=True)
class Optimizations:
    """The position of each optimization.

    Parameters
    ----------
    attention
        "sdpa", torch's fused attention; "xformers", where it is installed; "plain".
    offload
        A member of `offload.MODES`, or "auto": the fastest that fits.
    compile
        "on" compiles the blocks that a denoiser repeats, at its next run.
    channels_last
        "on" keeps convolution weights in the layout that tensor cores prefer.
    vae_tiling
        "auto" decodes in tiles when memory ran out; "on" always does.
    dtype
        Of weights and arithmetic: "float32", "float16" or "bfloat16"; "auto" is float16
        on a CUDA GPU and float32 elsewhere: Apple's GPU makes black pictures in float16 with some models.
    """

    attention: str = "sdpa"
    offload: str = "auto"
    compile: str = "off"
    channels_last: str = "off"
    vae_tiling: str = "auto"
    dtype: str = "auto"

    def replace(self, name: str, value: str) -> Optimizations:
        """Return a copy with one optimization moved.

        Raises
        ------
        ParameterError
            There is no such optimization or position.
        NbdiffuseError
            A library that the position needs is not installed.
        """
        name = name.replace("-", "_")
        if name not in POSITIONS:
            raise ParameterError(f"{name!r} is no optimization. {did_you_mean(name, POSITIONS)}")
        if value not in POSITIONS[name]:
            choices = ", ".join(POSITIONS[name])
            raise ParameterError(f"`{name}` must be one of {choices}, got {value!r}. {did_you_mean(value, POSITIONS[name])}")
        if value == "xformers" and importlib.util.find_spec("xformers") is None:
            line = "`attention xformers` needs xFormers, which is not installed."
            raise NbdiffuseError(f"{line} Run `pip install xformers`, or keep sdpa, torch's own fused attention.")
        return dataclasses.replace(self, **{name: value})

    def table(self) -> dict[str, str]:
        """Return every optimization's position, by name."""
        return dataclasses.asdict(self)

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """Return the dtype of weights on a device."""
        usual = torch.float16 if device.type == "cuda" else torch.float32
        chosen: torch.dtype = usual if self.dtype == "auto" else getattr(torch, self.dtype)
        return chosen

    def relief(self, device: torch.device) -> str:
        """Return the optimization that costs least speed where memory is short, such as "offload auto"; "" when none is left."""
        if device.type != "cpu" and self.offload not in ("auto", MODES[-1]):
            return "offload auto"
        return "dtype bfloat16" if self.dtype_on(device) == torch.float32 else ""

    def fingerprint(self) -> dict[str, str]:
        """Return the positions that can change pixels in their last bits; the dtype is told as what it is on a device."""
        moved = {name: self.table()[name] for name in ("attention", "compile", "channels_last", "vae_tiling")}
        return {name: value for name, value in moved.items() if name == "attention" or value == "on"}


POSITIONS: Mapping[str, tuple[str, ...]] = {
    "attention": ("sdpa", "xformers", "plain"),
    "offload": ("auto", *MODES),
    "compile": ("off", "on"),
    "channels_last": ("off", "on"),
    "vae_tiling": ("auto", "on"),
    "dtype": ("auto", "float32", "float16", "bfloat16"),
}
"""Positions of each optimization; the first one is the default."""
_DENOISERS = ("unet", "controlnet", "prior_prior")
_PROCESSORS = {"sdpa": AttnProcessor2_0, "plain": AttnProcessor}


def apply(components: Mapping[str, Any], optimizations: Optimizations) -> None:
    """Bring a checkpoint's components into the positions of the optimizations; calling it again changes nothing.

    Only attention of the usual kind is exchanged: special processors, as Kandinsky's,
    LoRA's and those of transformers, stay.
    """
    layout = torch.channels_last if optimizations.channels_last == "on" else torch.contiguous_format
    models: dict[str, Any] = {name: one for name, one in components.items() if isinstance(one, torch.nn.Module)}
    for name, component in models.items():
        component.to(memory_format=layout)
        if name in _DENOISERS or name == ".":
            _attend(component, optimizations.attention)
        if name in (*_DENOISERS, "transformer", "."):
            _compile(component, optimizations.compile == "on")
        if hasattr(component, "enable_tiling") and hasattr(component, "disable_tiling"):
            (component.enable_tiling if optimizations.vae_tiling == "on" else component.disable_tiling)()


def _attend(model: Any, attention: str) -> None:
    processors = getattr(model, "attn_processors", {})
    usual = (AttnProcessor, AttnProcessor2_0)
    if attention == "xformers":
        model.enable_xformers_memory_efficient_attention()
    elif processors and all(isinstance(one, usual) or "XFormers" in type(one).__name__ for one in processors.values()):
        wanted = _PROCESSORS[attention]
        if not all(type(one) is wanted for one in processors.values()):
            model.set_attn_processor(wanted())


def _compile(model: Any, wanted: bool) -> None:
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    if wanted and not compiled:
        if getattr(model, "_repeated_blocks", None):
            model.compile_repeated_blocks(fullgraph=True)
        else:
            model.compile()
    elif compiled and not wanted:
        for module in model.modules():
            module._compiled_call_impl = None

"""Names that files of LoRA kinds give to a pipeline's layers: kohya's, LyCORIS', PEFT's and diffusers'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

DENOISERS = ("unet", "transformer")
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
PARTS = (*DENOISERS, *TEXT_ENCODERS)
"""Components that a file may change."""
_KOHYA = {
    "unet": ("lora_unet_", "lycoris_"),
    "transformer": ("lora_unet_", "lora_transformer_", "lycoris_"),
    "text_encoder": ("lora_te_", "lora_te1_"),
    "text_encoder_2": ("lora_te2_",),
    "text_encoder_3": (),
}
_KOHYA_T5 = ("lora_te3_",)
"""T5 is the third encoder to trainers, also where a pipeline has two."""
_IN_RESNETS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


@dataclass(frozen=True)
class Layer:
    """One layer of a pipeline: the component and the module in it."""

    part: str
    name: str
    module: torch.nn.Module


def layers_by_name(pipeline: Any) -> dict[str, Layer]:
    """Return every layer that has weights under every name that a file may call it by.

    Parameters
    ----------
    pipeline
        With some of `PARTS`.

    Returns
    -------
    Layers by name, such as "lora_unet_mid_block_attentions_0_proj_in" or "transformer.transformer_blocks.0.attn.to_q".

    Source: kohya-ss sd-scripts `networks/lora.py`, LyCORIS `wrapper.py`, diffusers `lora_conversion_utils.py`.
    """
    found: dict[str, Layer] = {}
    for part in PARTS:
        model = getattr(pipeline, part, None)
        if not isinstance(model, torch.nn.Module):
            continue
        for name, module in model.named_modules():
            if isinstance(getattr(module, "weight", None), torch.Tensor):
                found |= dict.fromkeys(_names(part, name, model), Layer(part, name, module))
    return found


def _names(part: str, name: str, model: Any) -> Iterator[str]:
    kohya = _KOHYA_T5 if "T5" in type(model).__name__ else _KOHYA[part]
    if part == "unet":
        spelled = [name, *_original(name, model)]
    elif part == "transformer":
        spelled = [name]
        yield from (name, f"diffusion_model.{name}")
    else:
        # transformers 5 dropped this level from one of the two classes.
        bare = name.removeprefix("text_model.")
        spelled = [bare, f"text_model.{bare}"]
    for one in spelled:
        yield f"{part}.{one}"
        if part not in TEXT_ENCODERS[1:]:
            yield f"base_model.model.{one}"
        yield from (prefix + one.replace(".", "_") for prefix in kohya)


def _original(name: str, unet: Any) -> Iterator[str]:
    """Yield the name of a UNet's layer in the original training code, which files for SDXL use.

    Source: diffusers `convert_ldm_unet_checkpoint`, read backwards.
    """
    deep = unet.config.get("layers_per_block")
    if name in _OUTSIDE_BLOCKS:
        yield _OUTSIDE_BLOCKS[name]
    parsed = re.fullmatch(r"(?:(down|up)_blocks\.(\d+)|(mid)_block)\.(\w+)\.(\d+)\.(.+)", name)
    if parsed is None or not isinstance(deep, int):
        return
    side, block, kind, number, rest = parsed[1] or parsed[3], int(parsed[2] or 0), parsed[4], int(parsed[5]), parsed[6]
    inner = ".".join([_IN_RESNETS.get(rest.split(".")[0], rest.split(".")[0]), *rest.split(".")[1:]])
    rest = inner if kind == "resnets" else rest
    if side == "mid":
        yield f"middle_block.{1 if kind == 'attentions' else 2 * number}.{rest}"
    elif kind == "downsamplers":
        yield f"input_blocks.{(deep + 1) * (block + 1)}.0.op"
    elif kind == "upsamplers":
        place = 2 if hasattr(unet.up_blocks[block], "attentions") else 1
        yield f"output_blocks.{(deep + 1) * block + deep}.{place}.{rest}"
    else:
        at = (deep + 1) * block + number + (1 if side == "down" else 0)
        yield f"{'input' if side == 'down' else 'output'}_blocks.{at}.{1 if kind == 'attentions' else 0}.{rest}"

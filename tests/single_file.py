"""Write a checkpoint of the SD 1.5 shape as one file, in the layout of the original code that A1111 and ComfyUI read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ENDS = {"conv_norm_out": "norm_out", "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_places(unet: Any) -> dict[str, str]:
    """Return where each block of a diffusers UNet is in the original, by prefix."""
    layers, levels = unet.config["layers_per_block"], len(unet.config["block_out_channels"])
    places = {**UNET_ENDS, "mid_block.attentions.0": "middle_block.1"}
    places |= {f"mid_block.resnets.{j}": f"middle_block.{2 * j}" for j in range(2)}
    for i in range(levels):
        for j in range(layers):
            place = f"input_blocks.{(layers + 1) * i + j + 1}"
            places |= {f"down_blocks.{i}.resnets.{j}": f"{place}.0", f"down_blocks.{i}.attentions.{j}": f"{place}.1"}
        for j in range(layers + 1):
            place = f"output_blocks.{(layers + 1) * i + j}"
            places |= {f"up_blocks.{i}.resnets.{j}": f"{place}.0", f"up_blocks.{i}.attentions.{j}": f"{place}.1"}
        attends = "CrossAttn" in unet.config["up_block_types"][i]
        places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{(layers + 1) * (i + 1)}.0.op"
        places[f"up_blocks.{i}.upsamplers.0"] = f"output_blocks.{(layers + 1) * i + layers}.{1 + attends}"
    return places


def _vae_places(vae: Any) -> dict[str, str]:
    layers, levels = vae.config["layers_per_block"], len(vae.config["block_out_channels"])
    places = {f"{half}.{name}": f"{half}.{place}" for half in ("encoder", "decoder") for name, place in VAE_ENDS.items()}
    places |= {f"{half}.mid_block.attentions.0": f"{half}.mid.attn_1" for half in ("encoder", "decoder")}
    for i in range(levels):
        places |= {f"encoder.down_blocks.{i}.resnets.{j}": f"encoder.down.{i}.block.{j}" for j in range(layers)}
        places |= {f"decoder.up_blocks.{i}.resnets.{j}": f"decoder.up.{levels - 1 - i}.block.{j}" for j in range(layers + 1)}
        places[f"encoder.down_blocks.{i}.downsamplers.0"] = f"encoder.down.{i}.downsample"
        places[f"decoder.up_blocks.{i}.upsamplers.0"] = f"decoder.up.{levels - 1 - i}.upsample"
    return places


def _renamed(key: str, places: dict[str, str], inner: dict[str, str], within: str) -> str:
    """Rename a key's block by the longest prefix that is known, and what is inside one kind of block."""
    prefix = max((one for one in places if key.startswith(f"{one}.")), key=len, default="")
    rest = key.removeprefix(f"{prefix}.") if prefix else key
    if within in key:
        head = next((one for one in inner if rest.startswith(f"{one}.")), "")
        rest = inner[head] + rest.removeprefix(head) if head else rest
    return f"{places[prefix]}.{rest}" if prefix else rest


def state_dict(pipeline: Any) -> dict[str, torch.Tensor]:
    """Return a pipeline's weights under the original's keys."""
    state: dict[str, torch.Tensor] = {}
    unet, vae = _unet_places(pipeline.unet), _vae_places(pipeline.vae)
    for key, tensor in pipeline.unet.state_dict().items():
        state[f"model.diffusion_model.{_renamed(key, unet, UNET_RESNET, '.resnets.')}"] = tensor
    for key, tensor in pipeline.vae.state_dict().items():
        name = _renamed(key, vae, VAE_ATTENTION, ".attentions.").replace("conv_shortcut", "nin_shortcut")
        # The original's attention is made of convolutions of one pixel.
        is_matrix = ".attn_1." in name and tensor.ndim == 2
        state[f"first_stage_model.{name}"] = tensor[:, :, None, None] if is_matrix else tensor
    for key, tensor in pipeline.text_encoder.state_dict().items():
        state[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = tensor
    return {key: tensor.contiguous() for key, tensor in state.items()}


def write(pipeline: Any, file: Path) -> Path:
    """Save a pipeline's weights as one file, without its configs."""
    save_file(state_dict(pipeline), file)
    return file

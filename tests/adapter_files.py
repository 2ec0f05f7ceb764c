"""Files of adapters with drawn values, in the layouts in which people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def vectors(seed: int, count: int = 1, width: int = 96) -> torch.Tensor:
    """Return vectors of a size that changes a picture."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def write_embeddings(folder: Path) -> Path:
    """Write textual inversions for the embedded base and for SDXL, in every layout."""

    def a1111(name: str, tensor: torch.Tensor) -> dict[str, Any]:
        param = torch.nn.Parameter(tensor)
        return {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": param},
            "name": name,
            "step": 100,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        }

    folder.mkdir(exist_ok=True)
    torch.save(a1111("trained-as-this", vectors(1)), folder / "bad-hands-5.pt")
    torch.save(a1111("another", vectors(2, 3)), folder / "charturner.pt")
    save_file({"emb_params": vectors(3, 2)}, folder / "mist.safetensors")
    torch.save({"<cat-toy>": vectors(4)[0]}, folder / "learned_embeds.bin")
    save_file({"<cat-toy>": vectors(4)[0]}, folder / "toy.safetensors")
    save_file({"clip_l": vectors(5, 2), "clip_g": vectors(6, 2)}, folder / "two.safetensors")
    return folder


def vision(folder: Path, width: int = 48, projected: int = 40) -> Path:
    """Write the vision part of a CLIP with drawn weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(11)
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=projected,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def ip_adapter(unet: Any, seed: int, kind: str = "", clip: int = 40) -> dict[str, torch.Tensor]:
    """Return the tensors of an IP-Adapter with drawn values, as its makers save one; `kind` is "", "plus" or "full"."""
    draw = torch.Generator().manual_seed(seed)
    width = unet.config.cross_attention_dim

    def drawn(*shape: int, scale: float = 0.3) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=draw)

    state: dict[str, torch.Tensor] = {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            hidden = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            state |= {f"ip_adapter.{number}.to_{part}_ip.weight": drawn(hidden, width) for part in ("k", "v")}
    if kind == "plus":
        hidden, heads = 64, 64
        state |= {"latents": drawn(1, 8, hidden), "proj_in.weight": drawn(hidden, clip), "proj_in.bias": drawn(hidden)}
        state |= {"proj_out.weight": drawn(width, hidden), "proj_out.bias": drawn(width)}
        state |= {"norm_out.weight": torch.ones(width), "norm_out.bias": drawn(width)}
        for layer in range(4):
            for norm in ("0.norm1", "0.norm2", "1.0"):
                state |= {f"layers.{layer}.{norm}.weight": torch.ones(hidden), f"layers.{layer}.{norm}.bias": drawn(hidden)}
            state[f"layers.{layer}.0.to_q.weight"] = drawn(heads, hidden)
            state[f"layers.{layer}.0.to_kv.weight"] = drawn(2 * heads, hidden)
            state[f"layers.{layer}.0.to_out.weight"] = drawn(hidden, heads)
            state[f"layers.{layer}.1.1.weight"] = drawn(4 * hidden, hidden)
            state[f"layers.{layer}.1.3.weight"] = drawn(hidden, 4 * hidden)
    elif kind == "full":
        state |= {"proj.0.weight": drawn(clip, clip), "proj.0.bias": drawn(clip)}
        state |= {"proj.2.weight": drawn(width, clip), "proj.2.bias": drawn(width)}
        state |= {"proj.3.weight": torch.ones(width), "proj.3.bias": drawn(width)}
    else:
        state |= {"proj.weight": drawn(4 * width, clip), "proj.bias": drawn(4 * width)}
        state |= {"norm.weight": torch.ones(width), "norm.bias": drawn(width)}
    return {key if key.startswith("ip_adapter.") else f"image_proj.{key}": value for key, value in state.items()}


def write_ip_adapters(folder: Path) -> Path:
    """Write IP-Adapters of all kinds for the embedded sd15 and sdxl, and two CLIPs that they look with."""
    from diffusers import UNet2DConditionModel

    from nbdiffuse import embedded

    for name in ("sd15", "sdxl"):
        unet = UNet2DConditionModel.from_pretrained(embedded.path(name) / "unet")
        (folder / name).mkdir(parents=True)
        vision(folder / name / "image_encoder")
        save_file(ip_adapter(unet, 1), folder / name / "plain.safetensors")
        save_file(ip_adapter(unet, 2), folder / name / "second.safetensors")
        save_file(ip_adapter(unet, 3, "plus", 48), folder / name / "plus.safetensors")
        save_file(ip_adapter(unet, 4, "full", 48), folder / name / "full.safetensors")
    return folder

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

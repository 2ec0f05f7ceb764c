"""What a weights file seems to be, told by its keys and shapes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

_MOST_HEADER = 100_000_000
"""Bytes: the limit that safetensors itself has."""

_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an OFT or BOFT file, which is not read here", (".oft_blocks", ".oft_diag", ".oft_R")),
    ("a GLoRA, which is not read here", (".a1.weight", ".b1.weight")),
    ("a LoHa", (".hada_w1_a",)),
    ("a LoKr", (".lokr_w1", ".lokr_w2")),
    ("an IP-Adapter", ("ip_adapter.", "image_proj.")),
    ("a LoRA", (".lora_up.", ".lora_down.", ".lora_A.", ".lora_B.", "_lora.up.", "_lora.down.", ".lora.up.", ".lora.down.")),
    ("a motion module of AnimateDiff", ("motion_modules.",)),
    (
        "a ControlNet",
        (
            "control_model.",
            "controlnet_cond_embedding.",
            "controlnet_down_blocks.",
            "zero_convs.",
            "control_all_x_embedder.",
            "control_layers.",
        ),
    ),
    ("a T2I-Adapter", ("adapter.body.", "body.0.resnets.")),
)
_TRANSFORMERS = (
    ("Flux 3", ("early_stream_modulations.",)),
    ("Flux 2", ("single_stream_modulation.lin.", "single_stream_modulation.linear.")),
    ("Chroma", ("distilled_guidance_layer.",)),
    ("Flux", ("double_blocks.", "single_transformer_blocks.")),
    ("Stable Diffusion 3", ("joint_blocks.",)),
    ("Qwen-Image 2.1", ("txt_in.text_norm.",)),
    ("Qwen-Image", (".img_mod.1.",)),
    ("Z-Image", ("layers.0.adaLN_modulation.0.",)),
    ("HiDream", ("double_stream_blocks.",)),
    ("Wan video", ("head.modulation", ".head.modulation")),
)
"""Families of transformers, each with what only its keys have.

Source: `CHECKPOINT_KEY_NAMES` in diffusers `loaders/single_file_utils.py`; Qwen-Image's are those of its class.
"""
_KLEIN = (7680, 12288)
"""Widths of the text that the two sizes of Flux 2 Klein take."""
_FILL = 384
"""Channels of a packed latent that Flux Fill takes: the picture, the masked one and the mask."""
PARTS = ("a checkpoint without a VAE", "a UNet in diffusers' layout", "a VAE", "a text encoder")
"""What a file may seem to be that is a part of a checkpoint."""


def seems_to_be(found: Mapping[str, Sequence[int]]) -> str:
    """Return what a weights file seems to be, such as "a VAE".

    Parameters
    ----------
    found
        Shapes by key.
    """
    keys = list(found)
    if not keys:
        return "an empty file"

    def has(*marks: str) -> bool:
        return any(mark in key for mark in marks for key in keys)

    unet, vae = has("model.diffusion_model."), has("first_stage_model.")
    transformer = next((_kind(title, found) for title, marks in _TRANSFORMERS if has(*marks)), None)
    if unet and vae and not transformer:
        return "a whole checkpoint; give it as `checkpoint`"
    for what, marks in _MARKS:
        if has(*marks):
            return what
    if transformer:
        return f"a {transformer} checkpoint or a part of one"
    if unet:
        return "a checkpoint without a VAE"
    if len(keys) <= 4 and has("emb_params", "string_to_param", "clip_l", "clip_g", "<"):
        return "a textual inversion"
    if has("time_embedding.") and has("down_blocks."):
        return "a UNet in diffusers' layout"
    if has("decoder.up", "decoder.mid", "encoder.down"):
        return "a VAE"
    if has("text_model.", "self_attn.", "token_embedding."):
        return "a text encoder"
    return "something else"


def _kind(title: str, found: Mapping[str, Sequence[int]]) -> str:
    """Tell kinds of a family apart that have the same keys, by the shapes of what takes the text and the latents."""
    widths = {name: shape[1] for key, shape in found.items() for name in ("txt_in", "img_in") if key.endswith(f"{name}.weight")}
    if title == "Flux 2" and widths.get("txt_in") in _KLEIN:
        return "Flux 2 Klein"
    return "Flux Fill" if title == "Flux" and widths.get("img_in") == _FILL else title


def header(file: Path) -> Mapping[str, list[int]] | None:
    """Read the shapes in a .safetensors file by key, without torch; None where it is none that can be read."""
    try:
        found = file.stat()
    except OSError:
        return None
    return _header(file, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=16)
def _header(file: Path, size: int, changed: int, inode: int) -> Mapping[str, list[int]] | None:
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > min(_MOST_HEADER, size):
                return None
            found = json.loads(opened.read(length))
        return {key: list(map(int, entry["shape"])) for key, entry in found.items() if key != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        return None

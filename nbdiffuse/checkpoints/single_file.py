"""Single files as A1111 and ComfyUI keep them: UNet, VAE and text encoder in one .safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import single_file_utils

from ..errors import CheckpointError
from ..families.single_file import CONFIGS, single_file
from .layouts import PICKLES, pipeline_class_of, shapes

PARTS = {
    "UNet": ("model.diffusion_model.",),
    "VAE": ("first_stage_model.",),
    "text encoder": ("cond_stage_model.", "conditioner."),
}
"""How the keys of each part begin."""
FAMILIES = ("v1", "inpainting", "instruct-pix2pix", "v2", "inpainting_v2", "xl_base", "xl_refiner", "xl_inpaint", "upscale")
"""What diffusers calls the layouts that are taken here."""


def config_repo(file: Path) -> str:
    """Return the hub id whose configs and tokenizer a single file goes with, told by its keys and shapes.

    Parameters
    ----------
    file
        A .safetensors file; only its header is read.

    Raises
    ------
    CheckpointError
        It is a pickle, damaged, no whole checkpoint, or of a family that is not taken.
    """
    if file.suffix != ".safetensors":
        reason = "a pickle can run code" if file.suffix in PICKLES else "only .safetensors files are taken"
        raise CheckpointError(f"{file} is not read: {reason}. Convert it to .safetensors.")
    found = shapes(file)
    absent = [part for part, heads in PARTS.items() if not any(key.startswith(heads) for key in found)]
    if absent:
        raise CheckpointError(f"{file} is no whole checkpoint: it has no {' and no '.join(absent)}. {_way_out(file, found)}")
    if any(key.startswith("edm_") for key in found):
        raise CheckpointError(f"{file} is made for EDM sampling, by its tensors, which is not taken. Give another checkpoint.")
    tensors = {key: torch.empty(shape, device="meta") for key, shape in found.items()}
    family = single_file_utils.infer_diffusers_model_type(tensors)
    if family not in FAMILIES:
        raise CheckpointError(f"{file} is of the family {family}, which is not taken as one file. Give a directory or a hub id.")
    said = single_file(file)
    if family in ("v2", "xl_base") and said is not None:
        return CONFIGS[said.family]
    return CONFIGS[family]


def _way_out(file: Path, found: dict[str, Any]) -> str:
    if any("lora" in key for key in found):
        return "It is a LoRA, which changes a checkpoint and is none."
    if (file.parent.parent / "model_index.json").exists():
        return f"Give the directory that it is part of: {file.parent.parent}."
    return "Give one with all parts, or a directory in diffusers' layout."


def load(file: Path, configs: Path, dtype: torch.dtype) -> Any:
    """Load a single file as the pipeline that its configs name.

    Parameters
    ----------
    file
        The weights, in the layout of the original training code.
    configs
        Directory in diffusers' layout; its weights are not read.
    dtype
        Of every weight.

    Raises
    ------
    CheckpointError
        A tensor is missing.
    """
    import diffusers

    pipeline_class = getattr(diffusers, pipeline_class_of(configs))
    try:
        pipeline = pipeline_class.from_single_file(str(file), config=str(configs), local_files_only=True, dtype=dtype)
    except NotImplementedError:  # what diffusers' cast of a missing tensor raises, without its name
        pipeline = None
    if pipeline is None:
        raise CheckpointError(f"{file} lacks tensors of its UNet or VAE. Fetch it again.")
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            absent = [key for key, tensor in component.state_dict().items() if tensor.is_meta]
            if absent:
                raise CheckpointError(f"{file} lacks tensor {min(absent)} of its {name}. Fetch it again.")
    said = single_file(file)
    if said is not None and said.settings:
        # As a plain mapping, so that a setting which this class has no argument for stays in the config for another one.
        config = {**pipeline.scheduler.config, **said.settings}
        # What stands in this list is taken for not set.
        config["_use_default_values"] = [name for name in config.get("_use_default_values", ()) if name not in said.settings]
        pipeline.scheduler = type(pipeline.scheduler).from_config(config)
    return pipeline

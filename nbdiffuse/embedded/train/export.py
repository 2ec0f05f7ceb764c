"""Write a checkpoint as it ships: float16 safetensors in diffusers' layout, and a manifest of hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ...checkpoints.latent_space import vae_of
from ...errors import CheckpointError
from ...pipelines.previews import latent_rgb
from .. import weight_deltas
from ..shared_weights import CHANGED, SHARED_WEIGHTS
from .base import new_scheduler


def base_pipeline(vae: AutoencoderKL, modules: nn.ModuleDict, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """Put `sd15` or one of its styles together as it ships."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=modules["text_encoder"],
        tokenizer=tokenizer,
        unet=modules["unet"],
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(pipeline: DiffusionPipeline, directory: Path, images: Tensor) -> None:
    """Save a pipeline in float16 so that a plain `from_pretrained` gives float32 everywhere.

    `images`, in [-1, 1], fit the preview's matrix.
    """
    preview = latent_rgb(vae_of(pipeline.components), images)
    components: dict[str, Any] = pipeline.components
    for component in components.values():
        if isinstance(component, nn.Module):
            component.to("cpu", torch.float16)
    pipeline.save_pretrained(directory)
    _forget_where_it_was(directory)
    _load_as_float32(directory)
    _name_classes_without_torchvision(directory / "model_index.json")
    scheduler = directory / "scheduler" / "scheduler_config.json"
    if json.loads(scheduler.read_text())["_class_name"] == "PNDMScheduler":
        # Stable Diffusion's own config says so too; schedulers made from it by `from_config` must not clip latents.
        _rewrite(scheduler, {"clip_sample": False})
    rows = [[round(value, 2) for value in row] for row in preview.tolist()]
    (directory / "latent_rgb.json").write_text(json.dumps(rows) + "\n")


def export_model(model: nn.Module, directory: Path, *others: Any) -> None:
    """Save one model in float16, and what prepares its input beside it."""
    saved: Any = model.to("cpu", torch.float16)
    for one in (saved, *others):
        one.save_pretrained(directory)
    _forget_where_it_was(directory)
    _load_as_float32(directory)


def _forget_where_it_was(directory: Path) -> None:
    """Take out of configs the folders that components were loaded from."""
    for file in directory.rglob("*.json"):
        said = json.loads(file.read_text())
        if isinstance(said, dict) and said.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


def _load_as_float32(directory: Path) -> None:
    """Let transformers load float32: it takes a file's dtype unless the config names another; diffusers always loads float32."""
    for file in (*directory.glob("config.json"), *directory.glob("*/config.json")):
        if "transformers_version" in json.loads(file.read_text()):
            _rewrite(file, {"dtype": "float32"})


def _name_classes_without_torchvision(index: Path) -> None:
    """Name image processors as every installation knows them: saved without torchvision, they carry a suffix."""
    index.write_text(index.read_text().replace("ProcessorPil", "Processor"))


def _rewrite(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}, indent=2, sort_keys=True) + "\n")


def export_change(tensors: Mapping[str, Tensor], directory: Path, component: str) -> None:
    """Save what a component changes in another checkpoint's, in the place of its weights."""
    weights = directory / component / weight_deltas.WEIGHTS
    halved = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    save_file(halved, weights.with_name(weight_deltas.NAME))
    weights.unlink()


def export_few_changes(checkpoints: Path, name: str, component: str) -> None:
    """Save of a component that was written whole only the weights that differ from those of the checkpoint that it changes."""
    whole = checkpoints / name / component / weight_deltas.WEIGHTS
    base = load_file(checkpoints / CHANGED[name][component] / component / whole.name)
    made = load_file(whole)
    # The difference of two float16 numbers, added in float32, gives the second one to the bit.
    apart = {f"{key}.diff": made[key].float() - base[key].float() for key in made if not torch.equal(made[key], base[key])}
    save_file(apart, whole.with_name(weight_deltas.NAME))
    whole.unlink()


def _weights(checkpoints: Path, owner: str, component: str, file: str) -> bytes:
    """Return a weights file of a checkpoint, also where only its difference from another one's is there."""
    kept = checkpoints / owner / component / file
    if kept.exists():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        base = checkpoints / CHANGED[owner][component] / component / file
        weight_deltas.merge(base, kept.with_name(weight_deltas.NAME), Path(folder) / file)
        return (Path(folder) / file).read_bytes()


def leave_borrowed_out(checkpoints: Path, name: str) -> None:
    """Remove from a directory the components that another checkpoint lends it; their weights have to be the same."""
    for component, owner in SHARED_WEIGHTS.get(name, {}).items():
        for file in sorted((checkpoints / name / component).glob("*.safetensors")):
            if file.read_bytes() != _weights(checkpoints, owner, component, file.name):
                raise CheckpointError(f"{name}/{component}/{file.name} is not the one that {owner} lends: train {owner} first.")
        shutil.rmtree(checkpoints / name / component)


def write_manifest(checkpoints: Path) -> Path:
    """Write the sha256 of every file under `checkpoints`, and of what changes make of them, into one manifest beside them."""
    files = sorted(file for file in checkpoints.rglob("*") if file.is_file() and file.name != "manifest.json")
    hashes = {file.relative_to(checkpoints).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    with tempfile.TemporaryDirectory() as folder:
        for change in checkpoints.rglob(weight_deltas.NAME):
            component, made = change.parent.name, Path(folder) / weight_deltas.WEIGHTS
            owner = checkpoints / CHANGED[change.parents[1].name][component] / component
            weight_deltas.merge(owner / weight_deltas.WEIGHTS, change, made)
            name = change.with_name(weight_deltas.WEIGHTS).relative_to(checkpoints).as_posix()
            hashes[name] = hashlib.sha256(made.read_bytes()).hexdigest()
    manifest = checkpoints / "manifest.json"
    manifest.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return manifest

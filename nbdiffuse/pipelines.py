"""Pipelines that stay resident: each checkpoint is loaded once, each task is built from its components."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline

from . import embedded
from .errors import CheckpointError
from .presets import Preset


def quiet() -> None:
    """Keep the libraries' own bars and hints out of notebooks; errors still come through."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


class Pipelines:
    """Keep diffusers pipelines in memory between runs; used by one thread only.

    Parameters
    ----------
    device
        Where the models live; the GPU where there is one when not given.
    """

    def __init__(self, device: str | None = None) -> None:
        quiet()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self._components: dict[str, dict[str, Any]] = {}
        self._latent_rgb: dict[str, torch.Tensor] = {}

    def acquire(self, preset: Preset, task: str, scheduler: str) -> DiffusionPipeline:
        """Return a pipeline for a task, with a fresh scheduler; weights are shared between tasks.

        Raises
        ------
        CheckpointError
            The checkpoint is missing or cannot be loaded; nothing half loaded is kept.
        """
        if preset.name not in self._components:
            self._components[preset.name] = self._load(preset)
        components = self._components[preset.name]
        shared = components["scheduler"]
        scheduler_class = getattr(diffusers, f"{scheduler}Scheduler")
        # A pipeline's constructor rewrites the config of the scheduler it is given, so it gets its own.
        fresh = scheduler_class.from_config(shared.config)
        pipeline_class = getattr(diffusers, preset.pipelines[task])
        pipeline: DiffusionPipeline = pipeline_class(**{**components, "scheduler": fresh}, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _load(self, preset: Preset) -> dict[str, Any]:
        directory = embedded.path(preset.name)
        embedded.identity(preset.name)
        task = next(iter(preset.pipelines))
        pipeline_class = getattr(diffusers, preset.pipelines[task])
        try:
            pipeline = pipeline_class.from_pretrained(directory, dtype=self.dtype, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"The checkpoint of {preset.name} at {directory} cannot be loaded: {error}") from None
        return dict(pipeline.to(self.device).components)

    def identity(self, preset: Preset) -> str:
        """Return the hash that identifies the checkpoint's files."""
        return embedded.identity(preset.name)

    def latent_rgb(self, preset: Preset) -> torch.Tensor | None:
        """Return the matrix that turns latents into a rough preview: shape (5, 3), the last row the bias, for [0, 255]."""
        if preset.name not in self._latent_rgb:
            file = Path(embedded.path(preset.name)) / "latent_rgb.json"
            if not file.exists():
                return None
            self._latent_rgb[preset.name] = torch.tensor(json.loads(file.read_text()), dtype=torch.float32)
        return self._latent_rgb[preset.name]

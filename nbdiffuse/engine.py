"""Run one complete recipe: arguments, the pipeline's call, previews, stop, and repair after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

from .encodings import Encodings
from .errors import Interrupted, NonFiniteError
from .fitting import fit
from .pipelines import Pipelines
from .presets import preset_of, real_steps
from .recipe import Recipe
from .results import Result
from .steps import Step, StepHook
from .version import __version__

PREVIEW_INTERVAL = 0.5
"""Seconds between previews, at least."""


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Parameters
    ----------
    step, steps
        Steps done, of how many; the steps that the recipe really runs.
    elapsed
        Seconds since the first model call began.
    preview
        A rough picture of the result so far, RGB, at the latents' size, or None.
    """

    step: int
    steps: int
    elapsed: float
    preview: Image.Image | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds left at the pace so far; None before the first step ends."""
        return self.elapsed / self.step * (self.steps - self.step) if self.step else None


class Engine:
    """Run complete recipes on resident pipelines; used by one thread only."""

    def __init__(self, pipelines: Pipelines) -> None:
        self.pipelines = pipelines
        self.encodings = Encodings()

    def run(self, recipe: Recipe, on_progress: Callable[[Progress], None], stop: threading.Event) -> Result:
        """Run a complete recipe.

        Parameters
        ----------
        recipe
            From `presets.resolve`.
        on_progress
            Called after each step, on this thread.
        stop
            When set, the run ends after the step under way.

        Returns
        -------
        The result; its pictures are PIL images, nothing stays on the device.

        Raises
        ------
        Interrupted
            `stop` was set.
        NonFiniteError
            Latents or pixels stopped being numbers.
        CheckpointError
            The checkpoint cannot be loaded.
        """
        preset = preset_of(recipe.model)
        pipeline: Any = self.pipelines.acquire(preset, recipe.task, str(recipe.scheduler))
        initial = _initial(recipe)
        watcher = _Watcher(recipe, on_progress, stop, self.pipelines.latent_rgb(preset))
        watcher.check_stop()
        started = time.perf_counter()
        try:
            with StepHook(pipeline.scheduler, watcher), self.encodings.reuse(pipeline, self.pipelines.scope(preset)):
                output = pipeline(**_arguments(recipe, initial), output_type="pt").images
        finally:
            pipeline.maybe_free_model_hooks()
        if not torch.isfinite(output).all():
            raise NonFiniteError("The decoded pixels are not numbers. Try another seed, or `float32` for the VAE.")
        pixels = pipeline.image_processor.pt_to_numpy(output)
        images = tuple(pipeline.image_processor.numpy_to_pil(pixels))
        return Result(
            recipe=recipe,
            images=images,
            initial=initial,
            seconds=time.perf_counter() - started,
            fingerprint=self.fingerprint(recipe),
            notices=_truncation_notices(pipeline.tokenizer, recipe),
        )

    def fingerprint(self, recipe: Recipe) -> dict[str, str]:
        """Return what else can change the pixels of a complete recipe, without loading its weights."""
        preset = preset_of(recipe.model)
        return {
            "nbdiffuse": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "device": self.pipelines.device.type,
            "dtype": str(self.pipelines.dtype).removeprefix("torch."),
            "pipeline": preset.pipelines[recipe.task],
            "scheduler": f"{recipe.scheduler}Scheduler",
            "checkpoint": self.pipelines.identity(preset),
        }


def _initial(recipe: Recipe) -> Image.Image | None:
    if recipe.image is None or recipe.width is None or recipe.height is None:
        return None
    return fit(recipe.image.image, (recipe.width, recipe.height), recipe.resize_mode or "fit")


def _arguments(recipe: Recipe, initial: Image.Image | None) -> dict[str, Any]:
    """Return the pipeline call's arguments, under diffusers' names."""
    arguments = {
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt or None,
        "guidance_scale": recipe.guidance_scale,
        "num_inference_steps": recipe.num_inference_steps,
        "generator": torch.Generator("cpu").manual_seed(recipe.seed or 0),
    }
    if initial is None:
        return {**arguments, "width": recipe.width, "height": recipe.height}
    return {**arguments, "image": initial, "strength": recipe.strength}


class _Watcher:
    """Turn steps into progress and previews, and a stop request into an end."""

    def __init__(
        self, recipe: Recipe, on_progress: Callable[[Progress], None], stop: threading.Event, latent_rgb: torch.Tensor | None
    ) -> None:
        self._steps = real_steps(recipe)
        self._on_progress = on_progress
        self._stop = stop
        self._latent_rgb = latent_rgb
        self._started = time.perf_counter()
        self._previewed = self._started

    def check_stop(self, done: int = 0) -> None:
        if self._stop.is_set():
            raise Interrupted(f"Stopped after step {done} of {self._steps}. What was finished before is kept.")

    def __call__(self, step: Step) -> None:
        done = max(1, step.index * self._steps // step.total)
        self.check_stop(done)
        now = time.perf_counter()
        preview = None
        if now - self._previewed >= PREVIEW_INTERVAL and self._latent_rgb is not None and step.index < step.total:
            clean = step.clean()
            preview = _preview(step.latents if clean is None else clean, self._latent_rgb)
            self._previewed = now
        self._on_progress(Progress(done, self._steps, now - self._started, preview))


def _preview(latents: torch.Tensor, latent_rgb: torch.Tensor) -> Image.Image:
    """Map latents to RGB with one matrix: a picture as large as the latents, for a few microseconds."""
    flat = latents[0].detach().to("cpu", torch.float32).permute(1, 2, 0)
    pixels = flat @ latent_rgb[:-1] + latent_rgb[-1]
    return Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy())


def _truncation_notices(tokenizer: Any, recipe: Recipe) -> tuple[str, ...]:
    """Say which words of a prompt lie past the text encoder's last token."""
    notices = []
    for field, text in (("prompt", recipe.prompt), ("negative_prompt", recipe.negative_prompt or "")):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        room = tokenizer.model_max_length - 2
        if len(ids) > room:
            lost = tokenizer.decode(ids[room:]).strip()
            notices.append(f"`{field}` has {len(ids)} tokens and {room} fit: this part is not seen: {lost!r}")
    return tuple(notices)

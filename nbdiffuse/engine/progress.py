"""Progress of a run: its step, a preview of the picture, and a stop where one is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image

from ..devices.steps import Step
from ..errors import Interrupted
from ..recipes.recipe import Recipe
from ..recipes.steps import real_steps

PREVIEW_INTERVAL = 0.5
"""Seconds between previews, at least; the first comes with the first step."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

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


class StepWatcher:
    """Turn steps into progress and previews, and end the run where a stop is requested.

    Parameters
    ----------
    recipe
        Complete; it says how many steps there are.
    on_progress
        Called after each step.
    stop
        When set, the run ends after the step under way.
    latent_rgb
        Maps a latent's channels and 1 to RGB, shape (channels + 1, 3), for previews; None makes none.
    unpack
        Lays out a step's latents as (n, channels, h, w).
    """

    def __init__(
        self,
        recipe: Recipe,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        latent_rgb: torch.Tensor | None,
        unpack: Callable[[torch.Tensor], torch.Tensor] = lambda latents: latents,
    ) -> None:
        self._steps = real_steps(recipe)
        self._on_progress = on_progress
        self._stop = stop
        self._latent_rgb = latent_rgb
        self._unpack = unpack
        self._started = time.perf_counter()
        # The first step shows one, however soon it comes.
        self._previewed = self._started - PREVIEW_INTERVAL
        self.latents: torch.Tensor | None = None

    def check_stop(self, done: int = 0) -> None:
        """Raise `Interrupted` once `stop` is set."""
        if self._stop.is_set():
            raise Interrupted(f"Stopped after step {done} of {self._steps}. What was finished before is kept.")

    def __call__(self, step: Step) -> None:
        done = max(1, step.index * self._steps // step.total)
        self.latents = step.latents
        self.check_stop(done)
        now = time.perf_counter()
        preview = None
        if now - self._previewed >= PREVIEW_INTERVAL and self._latent_rgb is not None and step.index < step.total:
            clean = step.clean()
            preview = _preview(self._unpack(step.latents if clean is None else clean), self._latent_rgb)
            self._previewed = now
        self._on_progress(Progress(done, self._steps, now - self._started, preview))


def _preview(latents: torch.Tensor, latent_rgb: torch.Tensor) -> Image.Image | None:
    """Map latents to RGB with one matrix: a picture as large as the latents, for a few microseconds."""
    # A VAE that is made for video has an axis of frames, one for a picture.
    picture = latents[0, :, 0] if latents.ndim == 5 else latents[0]
    if picture.ndim != 3 or len(picture) != len(latent_rgb) - 1:
        return None
    flat = picture.detach().to("cpu", torch.float32).permute(1, 2, 0)
    pixels = flat @ latent_rgb[:-1] + latent_rgb[-1]
    return Image.fromarray(pixels.clamp(0, 255).to(torch.uint8).numpy())

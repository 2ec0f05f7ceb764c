"""The share of noise in the latents that a run begins with, measured where they are made."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
from diffusers.pipelines.kandinsky.pipeline_kandinsky_img2img import KandinskyImg2ImgPipeline

FLOW = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")


class Starts:
    """Look at what each run of a scheduler, or of Kandinsky's own pipeline, mixes first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._first: tuple[Any, Any, Any] | None = None
        kinds = {getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")}
        for kind in {*kinds, KandinskyImg2ImgPipeline}:
            for method in {"add_noise", "scale_noise"} & vars(kind).keys():
                monkeypatch.setattr(kind, method, self._seen(getattr(kind, method), method))

    def _seen(self, original: Any, method: str) -> Any:
        def mixed(scheduler: Any, samples: Any, second: Any, third: Any = None, **more: Any) -> Any:
            made = original(scheduler, samples, second, third, **more)
            noise = second if method == "add_noise" else third
            self._first = self._first or (samples, noise, made)
            return made

        return mixed

    def share(self, scheduler: str) -> float:
        """Return the share of noise in what was mixed first since the last call."""
        assert self._first is not None
        samples, noise, mixed = (one.float().numpy().ravel() for one in self._first)
        self._first = None
        (signal, amount), *_ = np.linalg.lstsq(np.stack([samples, noise], axis=1), mixed, rcond=None)
        return float(amount if scheduler in FLOW else amount / math.hypot(signal, amount))

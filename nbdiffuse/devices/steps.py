"""One hook that sees every denoising step of any diffusers pipeline, and can stop it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch

from .failures import not_numbers


@dataclass(frozen=True)
class Step:
    """What is known after one model call.

    Parameters
    ----------
    index
        1 for the first call, `total` for the last.
    total
        Calls that this run makes.
    latents
        Latents after the step, shape (n, channels, h, w), on the device.
    clean
        Estimates the finished latents, same shape; None where the scheduler's
        prediction does not tell. Called only when a preview is due.
    """

    index: int
    total: int
    latents: torch.Tensor
    clean: Callable[[], torch.Tensor | None]


class StepHook:
    """Wrap `scheduler.step` for the duration of one call.

    It works for every pipeline, also those without `callback_on_step_end` or
    `_interrupt` (upscalers, Kandinsky); raising from `on_step` ends the call.

    Parameters
    ----------
    scheduler
        The pipeline's own scheduler.
    on_step
        Called after each step.
    skipped
        Steps that the call leaves out at the beginning of its schedule, as image-to-image does.
    unrun
        Steps that it leaves out at the end, as a call with `denoising_end` does.
    """

    def __init__(self, scheduler: Any, on_step: Callable[[Step], None], skipped: int = 0, unrun: int = 0) -> None:
        self._scheduler = scheduler
        self._on_step = on_step
        self._skipped = skipped + unrun
        self._calls = 0
        self._total: int | None = None
        self._found: Any = None

    def __enter__(self) -> StepHook:
        original_step = self._scheduler.step

        # Pipelines read the signature to decide whether to pass `eta` and `generator`.
        @functools.wraps(original_step)
        def step(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._total is None:
                self._total = self._remaining()
            as_output = kwargs.pop("return_dict", True)
            result = original_step(model_output, timestep, sample, *args, **kwargs)
            self._calls += 1
            latents = result.prev_sample
            # On a GPU the check waits for the device, so there only the last step is checked.
            if (latents.device.type == "cpu" or self._calls >= self._total) and not torch.isfinite(latents).all():
                raise not_numbers(f"The latents stopped being numbers at step {self._calls} of {self._total}", latents.dtype)
            # Schedulers for latent consistency models have another name for it.
            finished = result.get("pred_original_sample", result.get("denoised"))
            clean = functools.partial(self._clean_estimate, finished, model_output, timestep, sample)
            self._on_step(Step(self._calls, max(self._total, self._calls), latents, clean))
            return result if as_output else tuple(result.values())

        # Somebody else's may stand there already.
        self._found = vars(self._scheduler).get("step")
        self._scheduler.step = step
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._scheduler.step
        if self._found is not None:
            self._scheduler.step = self._found

    def _remaining(self) -> int:
        # A timestep does not tell where the call began: PNDM and Heun have some of them twice.
        order = getattr(self._scheduler, "order", 1)
        return max(1, len(self._scheduler.timesteps) - self._skipped * order)

    def _clean_estimate(
        self, finished: torch.Tensor | None, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor
    ) -> torch.Tensor | None:
        """Return the scheduler's own estimate, else that of a prediction of velocity or of noise.

        Flow matching: x0 = x - sigma v, at t = sigma times the training steps. Noise: x0 = (x - sqrt(1 - a) eps) / sqrt(a).
        """
        if finished is not None:
            return finished
        if type(self._scheduler).__name__.startswith("FlowMatch"):
            sigma = float(timestep) / self._scheduler.config.num_train_timesteps
            return sample - sigma * model_output if model_output.shape == sample.shape else None
        cumulative = getattr(self._scheduler, "alphas_cumprod", None)
        epsilon = getattr(self._scheduler.config, "prediction_type", None) == "epsilon"
        if cumulative is None or not epsilon or model_output.shape != sample.shape or hasattr(self._scheduler, "sigmas"):
            return None
        alpha = cumulative[int(timestep)].to(sample.device, sample.dtype)
        return (sample - (1 - alpha).sqrt() * model_output) / alpha.sqrt()

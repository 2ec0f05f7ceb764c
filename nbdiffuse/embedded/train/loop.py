"""The training loop that every member of the embedded family shares: resumable, seeded, averaged."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Parameters
    ----------
    steps
        Optimiser steps, at least 1.
    learning_rate
        Peak of a cosine schedule with a linear warm-up over `warmup` steps.
    averaging
        Decay of the exponential moving average of the weights, in [0, 1).
    seed
        Seeds torch's generators at the start.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    averaging: float = 0.998
    weight_decay: float = 0.01
    seed: int = 0
    save_every: float = 120.0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def training_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision(device_type: str) -> torch.autocast:
    """Compute in bfloat16 where the hardware does; a CPU that only imitates it would be many times slower than in float32."""
    instructions = torch.cpu.get_capabilities()
    native = device_type != "cpu" or any(instructions.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device_type, torch.bfloat16, enabled=native)


def _save(state: dict[str, object], path: Path) -> None:
    temporary = path.with_suffix(".temporary")
    torch.save(state, temporary)
    os.replace(temporary, path)


def fit(model: Module, loss_of: Callable[[Module, torch.Generator, int], Tensor], plan: Plan, state_file: Path) -> Module:
    """Train `model` and return its averaged copy.

    Parameters
    ----------
    model
        The module to train, on its device.
    loss_of
        Draws a batch with the generator for a step and returns the loss, a scalar tensor.
    plan
        Steps, rates and the seed.
    state_file
        Where the state is kept; training resumes from it.

    Returns
    -------
    A copy of the model with averaged weights, in evaluation mode.
    """
    average = copy.deepcopy(model).eval().requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(plan.seed)
    torch.manual_seed(plan.seed)
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=next(model.parameters()).device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
        generator.manual_seed(plan.seed + first)
        logger.info("resumed %s at step %d", state_file.name, first)

    def keep(step: int) -> None:
        _save(
            {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
            state_file,
        )

    saved = started = time.monotonic()
    device_type = next(model.parameters()).device.type
    running: float | None = None
    model.train()
    for step in range(first, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        with fast_precision(device_type):
            loss = loss_of(model, generator, step)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        decay = min(plan.averaging, (1 + step) / (10 + step))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
            for kept, seen in zip(average.buffers(), model.buffers(), strict=True):
                kept.copy_(seen)  # what a normalisation over batches has seen
        value = loss.item()
        running = value if running is None else 0.98 * running + 0.02 * value
        if (step + 1) % 50 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            logger.info("step %d of %d  loss %.5f  %.2f s a step", step + 1, plan.steps, running, pace)
        if time.monotonic() - saved > plan.save_every:
            keep(step + 1)
            saved = time.monotonic()
    keep(plan.steps)
    return average

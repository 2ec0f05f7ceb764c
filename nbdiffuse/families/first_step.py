"""Where a run begins for a share of noise: the step of the schedule, and the noise level that this step then gets."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .noise_schedule import BY_TIMESTEP, SOLVERS, noise_share
from .scheduler_classes import scheduler_class

SAME = 0.0005
"""Shares as near as this are one: it is what is left of one that is told in three digits."""
_EVEN = ("DDIM", "DDIMParallel", "CogVideoXDDIM", "PNDM")
"""Classes whose steps are all equally long, whatever their timesteps say: where the first one moves, all do."""
_WHOLE = (*BY_TIMESTEP, *SOLVERS)
"""Classes whose timesteps are whole numbers."""
_UNMOVED = ("KDPM2Discrete", "KDPM2AncestralDiscrete")
"""Classes that keep levels between those of their steps, which would have to move, too."""


@dataclass(frozen=True)
class FirstStep:
    """What is changed of a schedule so that a run begins with a share of noise; see `start_at`.

    Parameters
    ----------
    place
        In the scheduler's `timesteps`, from 0.
    timestep
        That the place gets.
    sigma
        Noise level that it gets; None for classes that have none but their timesteps.
    moves_rest
        Whether the timesteps behind it move as far.
    """

    place: int
    timestep: float
    sigma: float | None = None
    moves_rest: bool = False


@dataclass(frozen=True)
class Start:
    """Where a run begins: the step's number, from 0, the share of noise there, and what of the schedule is changed."""

    step: int
    share: float
    first: FirstStep | None = None


@dataclass(frozen=True)
class Schedule:
    """The steps among which a run's first one is chosen.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    timesteps, sigmas
        Of each step.
    training
        Noise level of each of the training's timesteps; for flow matching their number alone.
    steps
        How many of the first ones may be begun with.
    whole_is_noise
        Whether a run of all steps begins with noise alone, as inpainting does at strength 1.
    """

    scheduler: str
    timesteps: Sequence[float]
    sigmas: Sequence[float]
    training: Sequence[float] | int
    steps: int
    whole_is_noise: bool = False

    def share_of(self, sigma: float) -> float:
        """Return the share of noise at a noise level."""
        return sigma if isinstance(self.training, int) else noise_share(sigma)

    @property
    def shares(self) -> list[float]:
        """The share of noise that a run begins with at each step."""
        found = [self.share_of(sigma) for sigma in self.sigmas[: self.steps]]
        return [1.0, *found[1:]] if self.whole_is_noise else found

    def start(self, share: float) -> Start:
        """Return where a run begins for a share of noise, in (0, 1]: at a step, else within one, else at the nearest step."""
        shares = self.shares
        nearest = min(reversed(range(len(shares))), key=lambda step: abs(shares[step] - share))
        at_step = Start(nearest, shares[nearest])
        if abs(shares[nearest] - share) <= SAME or share > self._highest or self.scheduler in _UNMOVED or not self._falls:
            return at_step
        step = max(sum(one > share for one in shares) - 1, int(self.whole_is_noise))
        if step >= len(shares):
            return at_step
        return self._by_timestep(step, share) if self.scheduler in BY_TIMESTEP else self._by_sigma(step, share)

    @property
    def _falls(self) -> bool:
        """Whether each step begins with no more noise than the one before, as all do but PNDM's first ones of Runge-Kutta."""
        return list(self.timesteps) == sorted(self.timesteps, reverse=True)

    @property
    def _highest(self) -> float:
        return 1.0 if isinstance(self.training, int) else noise_share(self.training[-1])

    def _by_sigma(self, step: int, share: float) -> Start:
        """Give a step another noise level, which is met exactly."""
        found = scheduler_class(self.scheduler)
        place = step * (found.order or 1 if found else 1)
        if isinstance(self.training, int):
            return Start(step, share, FirstStep(place, share * self.training, share))
        sigma = share / math.sqrt(1 - share**2)
        timestep = _between(sigma, self.training)
        if self.scheduler in SOLVERS:
            timestep = round(timestep)
            known = [round(one) for one in self.timesteps]
            if timestep in known and known.index(timestep) != step:
                # The scheduler finds its place by the timestep, which no other step may have.
                return Start(step, self.shares[step]) if known.index(timestep) < step else self._at(known.index(timestep), step)
        return Start(step, share, FirstStep(place, timestep, sigma))

    def _by_timestep(self, step: int, share: float) -> Start:
        """Give a step the training's timestep whose share is nearest."""
        levels = [self.share_of(sigma) for sigma in self.training]  # type: ignore[union-attr]
        timestep = min(range(len(levels)), key=lambda one: abs(levels[one] - share))
        last = [place for place, one in enumerate(self.timesteps[: self.steps]) if one == timestep][-1:]
        if last and not (self.whole_is_noise and last[0] == 0):
            return self._at(last[0], step)
        even = self.scheduler in _EVEN
        if even and self.timesteps[-1] + timestep - self.timesteps[step] < 0:
            # The last one must not go below zero: all go up from the next step instead.
            step = step + 1 if step + 1 < self.steps else step
            timestep = max(timestep, int(self.timesteps[step] - self.timesteps[-1]))
        return Start(step, levels[timestep], FirstStep(step, timestep, None, even))

    def _at(self, step: int, otherwise: int) -> Start:
        step = step if step < self.steps else otherwise
        return Start(step, self.shares[step])


def _between(sigma: float, training: Sequence[float]) -> float:
    import numpy as np

    return float(np.interp(math.log(sigma), np.log(np.array(training)), np.arange(len(training))))


def start_at(
    scheduler: Any,
    place: int,
    timestep: float,
    sigma: float | None = None,
    moves_rest: bool = False,
) -> None:
    """Give every schedule that a scheduler makes another noise level at one place."""
    made = type(scheduler).set_timesteps

    @functools.wraps(made)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        made(scheduler, *args, **kwargs)
        if moves_rest:
            scheduler.timesteps[place:] += timestep - int(scheduler.timesteps[place])
        scheduler.timesteps[place] = timestep
        if sigma is not None:
            scheduler.sigmas[place] = sigma

    scheduler.set_timesteps = set_timesteps

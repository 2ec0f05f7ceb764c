"""Several recipes through one denoising loop: each keeps its own pipeline, scheduler and generator, and they share model calls.

Every recipe runs in diffusers' own pipeline call, in a coroutine of its own. Where the call
reaches its denoiser or its decoder the coroutine pauses, and when all coroutines have paused,
calls of one kind are made as one. So a recipe joins at any step of the others, with
another strength, step count or prompt, and a place that becomes free is filled at once.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..devices.coroutines import Coroutine
from ..devices.failures import free_caches, is_out_of_memory
from ..devices.memory import free_bytes
from ..errors import Interrupted, NbdiffuseError
from ..files.snapshots import Snapshot
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..results import Result
from ..store.store import BATCH, store_key
from . import unfinished
from .batched_models import batch_model_calls
from .engine import Engine
from .model_calls import ModelCall, run_batched
from .progress import Progress
from .unfinished import Answers

MAX_ROWS = 32
"""Rows of one call of a denoiser; more gain little, and the first finished picture comes later."""
MAX_DECODED = 4
"""Pictures of one call of a decoder; more gain nothing."""
SHARE_OF_FREE = 0.5
"""Part of the device's free memory that the activations of one call may take."""
ACTIVATIONS = 64
"""Tensors of a denoiser's widest kind, (channels of its first block, h, w), that one row takes at the most, roughly."""
TOKEN_ACTIVATIONS = 24
"""Tensors of a transformer's width, (tokens, width), that one row takes at the most, roughly."""
SAVED_EVERY = 60.0
"""Seconds after which what is under way is kept on the disk, in case that the process is killed."""
Outcome = Result | NbdiffuseError


class ContinuousBatch:
    """Recipes that share one denoising loop; used by one thread only.

    Parameters
    ----------
    engine
        Runs each of them.
    recipes
        Complete; those of one checkpoint stand together.
    on_progress
        Called with a recipe's index and where its run is.
    on_outcome
        Called with a recipe's index and its result or error, in the order in which they
        end. A result's `seconds` are its share of the time, so that all of them add up.
    stop
        When set, the calls under way are the last.
    pause
        Tells whether other work waits for the device: then nothing more is begun.
    snapshot
        Which files words stand for already; those that they stand for now when not given.
    """

    def __init__(
        self,
        engine: Engine,
        recipes: Sequence[Recipe],
        on_progress: Callable[[int, Progress], None],
        on_outcome: Callable[[int, Outcome], None],
        stop: threading.Event,
        pause: Callable[[], bool] = lambda: False,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._engine = engine
        self._recipes = recipes
        self._on_progress = on_progress
        self._on_outcome = on_outcome
        self._stop = stop
        self._pause = pause
        self._snapshot = snapshot
        self._begun = 0
        self._interrupted = False
        self._coroutines: dict[int, Coroutine[Result]] = {}
        self._asked: dict[int, ModelCall] = {}
        self._answers: dict[int, Answers] = {}
        self._held = 0
        self._saved, self._saved_once = time.monotonic(), False
        # The first recipe goes ahead until its first call shows what a row takes.
        self._limit = 1

    def run(self) -> None:
        """Run the recipes; those that were not begun because of `pause` have no outcome.

        Raises
        ------
        Interrupted
            `stop` was set; what was finished before has its outcome.
        """
        # Coroutines that leave `no_grad` in another order than they entered it find it as it is here.
        with torch.no_grad(), self._engine.pipelines.held(self._snapshot):
            try:
                while not self._stop.is_set() and self._fill():
                    for indices in self._alike():
                        if not self._stop.is_set():
                            self._answer(indices)
                    self._keep_now_and_then()
            finally:
                stopped = bool(self._coroutines) or self._interrupted
                self._leave()
        if self._stop.is_set() and (stopped or self._begun < len(self._recipes)):
            raise Interrupted("Stopped.")

    def _fill(self) -> bool:
        """Begin what has room, and tell whether anything is under way."""
        while self._begun < len(self._recipes) and not self._stop.is_set() and self._has_room():
            index, self._begun = self._begun, self._begun + 1
            self._coroutines[index] = Coroutine(functools.partial(self._work, index))
            self._answers[index] = unfinished.load_run(self._key(index)) if unfinished.are_kept() else Answers()
            self._go_on(index, None)
        return bool(self._coroutines)

    def _has_room(self) -> bool:
        if self._begun and self._pause():
            return False
        if not self._coroutines:
            return True
        following, present = self._recipes[self._begun], [self._recipes[index] for index in self._coroutines]
        fits = sum(map(_rows, present)) + _rows(following) <= self._limit
        return fits and _weights(following) == _weights(present[0])

    def _work(self, index: int, coroutine: Coroutine[Result]) -> Result:
        progress = functools.partial(self._on_progress, index)

        def prepare(pipeline: Any) -> None:
            self._answers[index].begin()
            # FreeU is in the blocks that all runs share: with it a run makes its calls itself, one after the other.
            if self._recipes[index].get("freeu") is None:
                batch_model_calls(coroutine, pipeline)

        return self._engine.run(self._recipes[index], progress, self._stop, prepare, lambda: len(self._coroutines) == 1)

    def _go_on(self, index: int, answer: Any) -> None:
        coroutine = self._coroutines[index]
        call = coroutine.resume(answer)
        while call is not None:
            if not call.decodes and self._limit == 1:
                self._limit = _room(call)
            known = self._answers[index].next(call)
            if known is None:
                self._asked[index] = call
                return
            call = coroutine.resume(known)
        self._end(index)

    def _end(self, index: int) -> None:
        """Tell what came of a coroutine that ended."""
        coroutine, answers = self._coroutines[index], self._answers.pop(index)
        self._held -= answers.size
        del self._coroutines[index]
        if coroutine.result is not None:
            rows, seconds = max(coroutine.shared_rows, answers.rows), coroutine.seconds + answers.seconds
            fingerprint = {**coroutine.result.fingerprint, **({BATCH: f"{rows} rows"} if rows else {})}
            self._on_outcome(index, dataclasses.replace(coroutine.result, seconds=seconds, fingerprint=fingerprint))
        elif isinstance(coroutine.error, Interrupted):
            self._keep(index, coroutine, answers)
            # A stop that came before the coroutine's first call, such as while weights were loaded.
            self._interrupted = True
        elif coroutine.error is not None:
            self._on_outcome(index, coroutine.error)
        if (answers.seconds or self._saved_once) and not isinstance(coroutine.error, Interrupted):
            unfinished.forget_run(self._key(index))

    def _key(self, index: int) -> str:
        """Return what a run is kept under: nothing that can change its pixels differs where it is equal."""
        try:
            return store_key(self._recipes[index], self._engine.fingerprint(self._recipes[index]))
        except NbdiffuseError:  # told by the run itself
            return "none"

    def _keep(self, index: int, coroutine: Coroutine[Result], answers: Answers) -> None:
        rows, seconds = max(coroutine.shared_rows, answers.rows), coroutine.seconds + answers.seconds
        unfinished.save_run(self._key(index), answers, seconds, rows)

    def _keep_now_and_then(self) -> None:
        if time.monotonic() - self._saved >= SAVED_EVERY:
            self._saved_once = True
            for index, coroutine in self._coroutines.items():
                self._keep(index, coroutine, self._answers[index])
            self._saved = time.monotonic()

    def _alike(self) -> list[list[int]]:
        """Group the coroutines that wait for calls of one kind; decoders come first, since they make room."""
        last = {index: call for index, call in self._asked.items() if call.decodes}
        groups: dict[Any, list[int]] = {}
        for index, call in (last or self._asked).items():
            groups.setdefault(call.kind, []).append(index)
        return list(groups.values())

    def _answer(self, indices: Sequence[int]) -> None:
        """Make the calls that some coroutines wait for, and let the coroutines go on."""
        calls = {index: self._asked.pop(index) for index in indices}
        most = MAX_DECODED if calls[indices[0]].decodes else self._limit
        for part in _parts(calls, most):
            begun = time.perf_counter()
            answers = self._made([calls[index] for index in part])
            took = (time.perf_counter() - begun) / sum(calls[index].rows for index in part)
            rows = sum(calls[index].rows for index in part) if len(part) > 1 else 0
            for index, answer in zip(part, answers, strict=True):
                self._coroutines[index].shared_rows = max(rows, self._coroutines[index].shared_rows)
                self._coroutines[index].seconds += took * calls[index].rows
                self._held += self._answers[index].note(calls[index], answer, unfinished.LIMIT - self._held)
                self._go_on(index, answer)

    def _made(self, calls: Sequence[ModelCall]) -> list[Any]:
        """Make calls of one kind as one; what fails is tried in halves, so that only one coroutine gets an error."""
        try:
            return run_batched(calls)
        except Exception as error:
            if len(calls) == 1:
                return [error]
            memory = is_out_of_memory(error)
        # Outside the `except`: until here the failed call's tensors were held by its frames.
        half = len(calls) // 2
        if memory:
            free_caches()
            self._limit = max(2, min(self._limit, sum(call.rows for call in calls[:half])))
        return self._made(calls[:half]) + self._made(calls[half:])

    def _leave(self) -> None:
        """End the coroutines that are still under way; what their models answered is kept on the disk."""
        self._asked.clear()
        for index, coroutine in self._coroutines.items():
            self._keep(index, coroutine, self._answers[index])
            while coroutine.resume(Interrupted("Stopped.")) is not None:
                pass
        self._coroutines.clear()
        self._answers.clear()


def _rows(recipe: Recipe) -> int:
    """Return the rows of a recipe's calls: with guidance, one with the prompt and one or two without."""
    return preset_of(recipe.model).guidance_rows if (recipe.guidance_scale or 0) > 1 else 1


def _weights(recipe: Recipe) -> tuple[Any, ...]:
    return (
        recipe.checkpoint,
        recipe.vae,
        recipe.loras,
        tuple(net.checkpoint for net in recipe.controlnets),
        preset_of(recipe.model).pipeline(recipe),
    )


def _room(call: ModelCall) -> int:
    """Return how many rows like those of a denoiser's call may be computed at once."""
    sample, config = call.sample, call.model.config
    sample = sample if isinstance(sample, torch.Tensor) else sample[0]
    if "block_out_channels" in config:
        numbers = ACTIVATIONS * config["block_out_channels"][0] * sample.shape[-2] * sample.shape[-1]
    else:
        width = config.get("dim") or config.get("num_attention_heads", 1) * config.get("attention_head_dim", 1)
        # A packed sample has a token in each row; of any other one, 2x2 latents are a token.
        tokens = sample.shape[1] if sample.ndim == 3 else sample.shape[-2] * sample.shape[-1] // 4
        numbers = TOKEN_ACTIVATIONS * width * tokens
    row = max(1, numbers * sample.element_size())
    return max(2, min(MAX_ROWS, int(SHARE_OF_FREE * free_bytes(sample.device) / row)))


def _parts(calls: dict[int, ModelCall], most: int) -> list[list[int]]:
    """Cut calls into parts of at most so many rows, as even as possible."""
    total = sum(call.rows for call in calls.values())
    parts: list[list[int]] = [[] for _ in range(-(-total // most))]
    done = 0
    for index, call in calls.items():
        parts[min(len(parts) - 1, done * len(parts) // total)].append(index)
        done += call.rows
    return [part for part in parts if part]

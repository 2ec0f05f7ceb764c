"""Unfinished runs: what the denoiser answered before a run was stopped, so that the same run goes on there.

A run that begins again makes the calls that it made before, in the same order and with the same
arguments. The first ones get the answers that were kept, and no model is called for them; all
else, the scheduler's memory and the generators included, comes out by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from ..files.atomic import write_atomic
from ..files.folders import cache_folder
from .model_calls import ModelCall

LIMIT = 512_000_000
"""Bytes of answers that are held at once, at most; a run that would need more is not kept."""
ON_DISK = 2_000_000_000
"""Bytes that kept runs take on the disk, at most: the newest."""
DAYS = 7
"""How long a run is kept that nobody goes on with."""


@dataclass
class Answers:
    """What the models answered to one run.

    Parameters
    ----------
    known
        Answers of an earlier run that are still to be given, the first one first.
    given
        All answers so far; None where they cannot be kept.
    seconds
        What an earlier run took for `known`.
    rows
        Rows of the largest model call that an earlier run shared.
    """

    known: list[Any] = field(default_factory=list)
    given: list[Any] | None = field(default_factory=list)
    seconds: float = 0.0
    rows: int = 0
    size: int = 0
    begun: bool = False

    def begin(self) -> None:
        """Take note that the run begins; where it begins once more, such as after memory ran out, all before it is void."""
        if self.begun:
            self.known.clear()
            self.given = None if self.given is None else []
        self.begun = True

    def next(self, call: ModelCall) -> Any:
        """Return what was answered to this call before; None where nothing is known, and then no more is."""
        if call.decodes or not self.known:
            return None
        kept = self.known.pop(0)
        answer = _restored(kept, call)
        if answer is None:
            self.known.clear()
        elif self.given is not None:
            self.given.append(kept)
        return answer

    def note(self, call: ModelCall, answer: Any, room: int) -> int:
        """Take note of an answer, and return its bytes; what has no room ends the keeping of this run."""
        if call.decodes or self.given is None:
            return 0
        kept = _kept(call, answer)
        size = 0 if kept is None else sum(one.numel() * one.element_size() for one in kept if not one.is_meta)
        if kept is None or size > room:
            freed, self.given, self.size = self.size, None, 0
            return -freed
        self.given.append(kept)
        self.size += size
        return size


def _kept(call: ModelCall, answer: Any) -> list[torch.Tensor] | None:
    """Return the tensors of an answer; of a ControlNet only their shapes, since they are read by calls that are not made."""
    flat = _flat(answer) if isinstance(answer, tuple) else None
    if flat is None or not call.conditions:
        return None if flat is None or any(isinstance(one, (list, tuple)) for one in answer) else flat
    return [one.to("meta") for one in flat]


def _flat(answer: Sequence[Any]) -> list[torch.Tensor] | None:
    found: list[torch.Tensor] = []
    for one in answer:
        inside = one if isinstance(one, (list, tuple)) else [one]
        if not all(isinstance(tensor, torch.Tensor) for tensor in inside):
            return None
        found += inside
    return found


def _restored(kept: list[torch.Tensor], call: ModelCall) -> Any:
    sample = call.sample
    if not isinstance(sample, torch.Tensor) or kept[0].is_meta != call.conditions:
        return None
    if kept[0].is_meta:
        empty = [torch.zeros((), dtype=one.dtype, device=sample.device).expand(one.shape) for one in kept]
        return empty[:-1], empty[-1]
    whole = all(len(one) == len(sample) and one.dtype == sample.dtype for one in kept)
    return tuple(one.to(sample.device) for one in kept) if whole else None


def folder() -> Path:
    """Return where unfinished runs are kept."""
    return cache_folder() / "unfinished-runs"


def save_run(key: str, answers: Answers, seconds: float, rows: int) -> None:
    """Keep a run that was not finished; that it cannot be written is no failure.

    Parameters
    ----------
    key
        See `store.store_key`.
    answers
        So far, those that are still to be given among them.
    seconds
        What it took.
    rows
        Of the largest model call that it shared.
    """
    given = None if answers.given is None else [*answers.given, *answers.known]
    while given and given[-1][0].is_meta:
        # The denoiser that it was for has not answered.
        given.pop()
    if not given:
        return
    tensors: dict[str, torch.Tensor] = {}
    layout: list[Any] = []
    for number, kept in enumerate(given):
        shaped = [(str(one.dtype).removeprefix("torch."), list(one.shape)) for one in kept]
        layout.append(shaped if kept[0].is_meta else len(kept))
        if not kept[0].is_meta:
            tensors |= {f"{number}.{place}": one.detach().to("cpu").contiguous().clone() for place, one in enumerate(kept)}
    facts = {"layout": json.dumps(layout), "seconds": repr(seconds), "rows": str(rows)}
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        write_atomic(folder() / f"{key}.safetensors", save(tensors, facts))
        _make_room()


def load_run(key: str) -> Answers:
    """Return what is known of a run; nothing where it was not kept, or what was kept cannot be read."""
    try:
        with safe_open(folder() / f"{key}.safetensors", "pt") as file:
            facts, known = file.metadata(), []
            for number, form in enumerate(json.loads(facts["layout"])):
                if isinstance(form, int):
                    known.append([file.get_tensor(f"{number}.{place}") for place in range(form)])
                else:
                    known.append([torch.empty(shape, dtype=getattr(torch, dtype), device="meta") for dtype, shape in form])
        return Answers(known=known, seconds=float(facts["seconds"]), rows=int(facts["rows"]))
    except Exception:  # somebody else may have written there; the run is then made whole
        return Answers()


def are_kept() -> bool:
    """Tell whether any run is kept, so that a key need not be made for nothing."""
    try:
        return any(os.scandir(folder()))
    except OSError:
        return False


def forget_run(key: str) -> None:
    """Take away a run that is finished."""
    with contextlib.suppress(OSError):
        (folder() / f"{key}.safetensors").unlink()


def _make_room() -> None:
    """Take away what is old, and the oldest of what is too much."""
    found = sorted(((file.stat().st_mtime, file) for file in folder().iterdir()), reverse=True)
    size = 0
    for age, file in found:
        size += file.stat().st_size
        if size > ON_DISK or time.time() - age > DAYS * 86_400:
            file.unlink(missing_ok=True)

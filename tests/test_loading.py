"""Loads from several threads: one at a time, and each with the weights and the settings of one alone."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from waiting import HUNG

from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints.locate import locate

WORDS = ("sd15", "comic", "sd15", "comic")


def weights(pipeline: Any) -> str:
    """Hash all weights of a pipeline, with their types."""
    digest = hashlib.sha256()
    for name, component in sorted(pipeline.components.items()):
        if isinstance(component, torch.nn.Module):
            for key, tensor in component.state_dict().items():
                digest.update(f"{name} {key} {tensor.dtype} {tensor.device}".encode())
                digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def one(word: str, dtype: torch.dtype) -> Any:
    return loading.load(locate(word), dtype)


def test_threads_that_load_wait_for_each_other_and_get_what_one_alone_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = list(zip(WORDS, (torch.float32, torch.float32, torch.bfloat16, torch.bfloat16), strict=True))
    alone = [weights(one(*asked)) for asked in wanted]
    inside, most, another = [0], [0], threading.Event()
    original = loading._load

    def watched(*given: Any) -> Any:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        if inside[0] > 1:
            another.set()
        # Time for another to come in, if it can.
        another.wait(0.3)
        try:
            return original(*given)
        finally:
            inside[0] -= 1

    monkeypatch.setattr(loading, "_load", watched)
    start = threading.Barrier(len(wanted))

    def at_once(asked: tuple[str, torch.dtype]) -> str:
        start.wait(HUNG)
        return weights(one(*asked))

    with ThreadPoolExecutor(len(wanted)) as pool:
        together = list(pool.map(at_once, wanted))
    assert most == [1], "transformers and diffusers make models under settings of the whole process"
    assert together == alone and torch.get_default_dtype() == torch.float32


def test_a_load_that_fails_lets_the_next_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    original = loading._load

    def failing(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(loading, "_load", failing)
    with pytest.raises(MemoryError):
        one("sd15", torch.float32)
    monkeypatch.setattr(loading, "_load", original)
    with ThreadPoolExecutor(1) as pool:
        assert weights(pool.submit(one, "sd15", torch.float32).result(HUNG))

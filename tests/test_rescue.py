"""Memory that runs out and numbers that are none: one more try where it helps, once, and said; else one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from nbdiffuse import Recipe, Session
from nbdiffuse.devices.rescue import GuardedDecode, is_device_dead, is_out_of_memory
from nbdiffuse.errors import NonFiniteError, RunError

SPELLINGS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("HIP out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@contextmanager
def failing(owner: Any, name: str, error: Callable[[], BaseException], times: int = 1) -> Iterator[list[int]]:
    """Let a method raise at its first calls; yield the count of calls."""
    original, calls = getattr(owner, name), [0]

    def method(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] <= times:
            raise error()
        return original(*args, **kwargs)

    setattr(owner, name, method)
    try:
        yield calls
    finally:
        delattr(owner, name)


@pytest.fixture
def parts(session: Session) -> Any:
    session.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1))
    assert session._engine is not None
    return session._engine.pipelines.components("sd15")


RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=3, seed=4)


@pytest.mark.parametrize("error", SPELLINGS, ids=lambda error: str(error)[:20] or type(error).__name__)
def test_a_decode_without_memory_is_done_once_more_in_tiles_and_said(error: Exception, session: Session, parts: Any) -> None:
    plain = session.run(RECIPE)
    before = parts["vae"].use_tiling
    with failing(parts["vae"], "decode", lambda: error) as calls:
        rescued = session.run(RECIPE)
    assert calls == [2] and parts["vae"].use_tiling is before
    assert rescued.notices == ("The picture was decoded in tiles, since memory ran out.",)
    # At this size one tile is the whole picture.
    assert rescued.image.tobytes() == plain.image.tobytes()


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_memory_that_stays_short_is_one_line_and_nothing_is_tried_in_vain(part: str, session: Session, parts: Any) -> None:
    plain = session.run(RECIPE)
    name = "decode" if part == "vae" else "forward"
    assert session._engine is not None
    session._engine.encodings.clear()
    line = r"The memory of cpu ran out at 128x128 pixels; .* free now\. Give a smaller width"
    error = torch.OutOfMemoryError("CUDA out of memory")
    with failing(parts[part], name, lambda: error, times=99) as calls, pytest.raises(RunError, match=line):
        session.run(RECIPE)
    assert calls == [2 if part == "vae" else 1]
    assert session.run(RECIPE).image.tobytes() == plain.image.tobytes()


def test_another_failure_is_never_tried_again(session: Session, parts: Any) -> None:
    error = RuntimeError("size mismatch")
    with failing(parts["vae"], "decode", lambda: error, times=99) as calls, pytest.raises(RunError, match="size mismatch"):
        session.run(RECIPE)
    assert calls == [1]


def test_a_half_precision_decode_that_gives_no_numbers_is_done_once_in_float32() -> None:
    from diffusers import AutoencoderKL

    from nbdiffuse import embedded

    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").to(torch.bfloat16)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    with torch.no_grad():
        true = vae.to(torch.float32).decode(latents.float()).sample
        vae.to(torch.bfloat16)
        original = vae.decode

        def overflowing(z: Any, *args: Any, **kwargs: Any) -> Any:
            made = original(z, *args, **kwargs)
            if z.dtype == torch.bfloat16:
                made.sample.fill_(torch.nan)
            return made

        vae.decode = overflowing
        guard = GuardedDecode(vae)
        # What a guard finds is restored by the one who put it there.
        with guard:
            made = vae.decode(latents).sample
    assert guard.rung.startswith("decoded in float32") and vae.dtype == torch.bfloat16
    assert np.array_equal(made.numpy(), true.numpy())


def test_latents_that_are_no_numbers_are_not_decoded_twice(session: Session, parts: Any) -> None:
    hook = parts["vae"].decoder.register_forward_hook(lambda module, inputs, output: torch.full_like(output, torch.nan))
    try:
        with pytest.raises(NonFiniteError, match="decoded pixels are not numbers"):
            session.run(RECIPE)
    finally:
        hook.remove()


def test_a_lost_device_is_said_once_and_refused_from_then_on() -> None:
    session = Session()
    session.run(RECIPE)
    assert session._engine is not None
    unet = session._engine.pipelines.components("sd15")["unet"]
    message = "CUDA error: device-side assert triggered"
    with failing(unet, "forward", lambda: RuntimeError(message), times=99) as calls:
        for _ in range(2):
            with pytest.raises(RunError, match="Restart the kernel; what was saved or stored is safe"):
                session.run(RECIPE)
    assert calls == [1]


def test_ordinary_errors_are_neither() -> None:
    assert not is_out_of_memory(ValueError("out of memory")) and not is_out_of_memory(RuntimeError("shape"))
    assert is_device_dead(RuntimeError("an illegal memory access was encountered")) and not is_device_dead(SPELLINGS[0])

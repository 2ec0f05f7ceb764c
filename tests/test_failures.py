"""Memory that runs out and numbers that are none: one more try where it helps, once, and said; else one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nbdiffuse import Recipe, Session
from nbdiffuse.devices.failures import GuardedVae, is_device_dead, is_out_of_memory
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
    session._engine.embedding_cache.clear()
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
        guard = GuardedVae(vae)
        # What a guard finds is restored by the one who put it there.
        with guard:
            made = vae.decode(latents).sample
    assert guard.rung.startswith("decoded in float32") and vae.dtype == torch.bfloat16
    assert np.array_equal(made.numpy(), true.numpy())


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_a_half_precision_encode_that_gives_no_numbers_is_done_once_in_float32(kind: str) -> None:
    from diffusers import AutoencoderKL, VQModel

    from nbdiffuse import embedded

    name, model = {"kl": ("sd15/vae", AutoencoderKL), "vq": ("kandinsky22/movq", VQModel)}[kind]
    vae: Any = model.from_pretrained(embedded.path(name.split("/")[0]) / name.split("/")[1]).to(torch.bfloat16)
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1).to(torch.bfloat16)

    def seen(encoded: Any) -> Any:
        return getattr(encoded, "parameters", encoded)

    with torch.no_grad():
        true = seen(vae.to(torch.float32).encode(picture.float())[0]).to(torch.bfloat16)
        vae.to(torch.bfloat16)
        layer = vae.encoder.conv_out
        overflow = layer.register_forward_hook(
            lambda module, inputs, output: torch.full_like(output, torch.inf) if output.dtype == torch.bfloat16 else None
        )
        for as_output in (True, False):
            guard = GuardedVae(vae)
            with guard:
                made = vae.encode(picture, return_dict=as_output)
            assert guard.encoder_rung.startswith("encoded in float32, since bfloat16") and guard.rung == ""
            assert vae.dtype == torch.bfloat16 and "encode" not in vars(vae) and "decode" not in vars(vae)
            assert type(made) is (tuple if not as_output else type(vae.encode(picture)))
            assert seen(made[0]).dtype == torch.bfloat16 and torch.equal(seen(made[0]), true)
        overflow.remove()
        guard = GuardedVae(vae)
        with guard:
            vae.encode(picture)
        assert guard.encoder_rung == ""


def test_an_encoder_that_had_to_be_helped_is_said(scene: Any) -> None:
    own = Session()
    own.with_pipelines(lambda pipelines: pipelines.set_optimization("dtype", "bfloat16"))
    asked = Recipe(prompt="a cat", image=scene.image, num_inference_steps=1, strength=1.0, seed=1)
    assert own.run(asked).notices == ()
    assert own._engine is not None
    own._engine.embedding_cache.clear()
    vae = own._engine.pipelines.components("sd15")["vae"]
    vae.encoder.conv_out.register_forward_hook(
        lambda module, inputs, output: torch.full_like(output, torch.nan) if output.dtype == torch.bfloat16 else None
    )
    made = own.run(asked)
    line = "The initial picture was encoded in float32, since bfloat16 gave values that are no numbers."
    assert made.notices == (line,) and np.asarray(made.image).std() > 0
    assert own.run(asked).notices == (line,), "what was kept of it would hide it"


def tensors(parts: Any) -> str:
    """Hash every weight and the state that a rescue changes."""
    digest = hashlib.sha256()
    for name in ("unet", "vae", "text_encoder"):
        for key, tensor in parts[name].state_dict().items():
            digest.update(f"{name} {key} {tensor.dtype}".encode() + tensor.numpy().tobytes())
        digest.update(f"{sorted(vars(parts[name]))} {parts[name].training}".encode())
    return f"{digest.hexdigest()} {parts['vae'].use_tiling} {parts['vae'].use_slicing}"


@contextmanager
def spoiled(module: Any, call: int, value: float) -> Iterator[list[int]]:
    """Let one number of a module's output at its n-th call, from 0, be none; yield the count of calls."""
    calls = [0]

    def spoil(owner: Any, inputs: Any, output: Any) -> None:
        tensor = output if isinstance(output, torch.Tensor) else output[0]
        if calls[0] == call:
            tensor[(0,) * tensor.ndim] = value
        calls[0] += 1

    hook = module.register_forward_hook(spoil)
    try:
        yield calls
    finally:
        hook.remove()


PLACES = [*(("unet", call) for call in range(4)), ("vae.encoder.conv_out", 0), ("vae.decoder.conv_out", 0)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf], ids=str)
def test_a_value_that_is_no_number_is_caught_wherever_it_comes_from_and_nothing_stays(
    value: float, session: Session, parts: Any, scene: Any
) -> None:
    redraw = Recipe(prompt="a cat", image=scene.image, num_inference_steps=4, strength=1.0, scheduler="DDIM", seed=3)
    plain, before = session.run(redraw), tensors(parts)
    assert session._engine is not None
    for place, call in PLACES:
        session._engine.embedding_cache.clear()
        name, _, path = place.partition(".")
        with spoiled(parts[name].get_submodule(path), call, value) as calls, pytest.raises(NonFiniteError) as caught:
            session.run(redraw)
        assert calls[0] == call + 1, "nothing runs on after it"
        what = {"unet": f"step {call + 1} of 4", "vae.encoder.conv_out": "encoded initial picture"}.get(place, "decoded pixels")
        assert what in str(caught.value) and "Try another seed" in str(caught.value)
        assert tensors(parts) == before and session.run(redraw).image.tobytes() == plain.image.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sd15", "sdxl", "sdxl-refiner", "kandinsky22", "x2-upscaler", "x4-upscaler"])
def test_every_family_catches_it_at_every_call_of_every_model(model: str, session: Session, scene: Any) -> None:
    asked = Recipe(prompt="a cat", image=scene.image, model=model, num_inference_steps=2, seed=3)
    asked = asked.replace(strength=1.0) if "upscaler" not in model else asked
    plain = session.run(asked)
    assert session._engine is not None
    parts = session._engine.pipelines.components(model)
    vae = parts.get("vae") or parts["movq"]
    modules = {"unet": parts["unet"], "encoder": vae.encoder.conv_out, "decoder": vae.decoder.conv_out}
    for name, module in modules.items():
        session._engine.embedding_cache.clear()
        with spoiled(module, -1, torch.nan) as calls:
            session.run(asked)
        assert calls[0] > 0 or (name, model) == ("encoder", "x4-upscaler"), "the x4 upscaler encodes nothing"
        for call in range(calls[0]):
            session._engine.embedding_cache.clear()
            with spoiled(module, call, torch.nan), pytest.raises(NonFiniteError):
                session.run(asked)
    assert session.run(asked).image.tobytes() == plain.image.tobytes()


@pytest.mark.parametrize("color", ["black", "white"])
def test_pictures_of_one_colour_are_no_false_alarm(color: str, session: Session, parts: Any) -> None:
    level = -3.0 if color == "black" else 3.0
    hook = parts["vae"].decoder.register_forward_hook(lambda module, inputs, output: torch.full_like(output, level))
    try:
        start = Image.new("RGB", (128, 128), color)
        made = session.run(Recipe(prompt="a cat", image=start, num_inference_steps=2, strength=1.0, seed=5))
    finally:
        hook.remove()
    assert made.image.getextrema() == start.getextrema() and made.notices == ()


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

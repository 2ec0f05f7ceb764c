"""Failures of a device: out of memory, NaN values, a lost GPU; one retry where it helps, else one clear line."""

from __future__ import annotations

import functools
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from ..errors import NonFiniteError
from .memory import format_size, free_bytes

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED|failed to allocate|std::bad_alloc", re.I
)
_DEAD = re.compile(r"device-side assert|illegal memory access|unspecified launch failure|misaligned address", re.I)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on any device, in any of the libraries' spellings."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def is_device_dead(error: BaseException) -> bool:
    """Tell whether an error says that the GPU's context is lost, so that nothing runs there before a restart."""
    return isinstance(error, RuntimeError) and bool(_DEAD.search(str(error)))


def out_of_memory_line(device: torch.device, size: tuple[int, int], relief: str) -> str:
    """Say what is left on a device, and the ways out.

    Parameters
    ----------
    device
        Where memory ran out.
    size
        Width and height of the result, in pixels.
    relief
        From `Optimizations.relief`.
    """
    ran_out = f"The memory of {device} ran out at {size[0]}x{size[1]} pixels; {format_size(free_bytes(device))} are free now."
    ways = ["Give a smaller width and height", "free models with `%diffuse unload`"]
    ways += [f"write `%diffuse optimize {relief}`"] if relief else []
    return f"{ran_out} {', '.join(ways[:-1])}, or {ways[-1]}."


def not_numbers(what: str, dtype: torch.dtype) -> NonFiniteError:
    """Return the error for NaN or infinite values, with the ways out for the dtype that they were computed in."""
    ways = "Try another seed." if dtype == torch.float32 else "Write `%diffuse optimize dtype float32`, or try another seed."
    return NonFiniteError(f"{what}. {ways}")


DEAD_LINE = "The GPU stopped working in this process. Restart the kernel; what was saved or stored is safe."


class GuardedVae:
    """Check a VAE's `encode` and `decode` for the duration of one call, and try once more where that helps.

    Out of memory: the same latents are decoded once more, in tiles. Numbers that are
    none from a half-precision encoder or decoder: once more in float32. `rung` says what
    the decoder needed and `encoder_rung` what the encoder did, or they are empty. The
    VAE is afterwards as it was.

    Parameters
    ----------
    vae
        An `AutoencoderKL` or `VQModel`; None does nothing.

    Raises
    ------
    NonFiniteError
        What is encoded or decoded is no number, although what went in was.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._found: dict[str, Any] = {}
        self.rung = self.encoder_rung = ""

    def __enter__(self) -> GuardedVae:
        if self._vae is not None:
            for name, make in (("decode", self._decode), ("encode", self._encode)):
                original = getattr(self._vae, name, None)
                if original is not None:
                    self._found[name] = vars(self._vae).get(name)
                    setattr(self._vae, name, functools.wraps(original)(functools.partial(make, original)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name, found in self._found.items():
            delattr(self._vae, name)
            if found is not None:
                setattr(self._vae, name, found)

    def _decode(self, original: Any, latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        made = self._decoded(original, latents, args, kwargs)
        return self._finite(original, made, latents, args, kwargs)

    def _encode(self, original: Any, x: torch.Tensor, return_dict: bool = True) -> Any:
        made, dtype = original(x, return_dict=return_dict), self._vae.dtype
        if torch.isfinite(_numbers_of(made[0])).all():
            return made
        if dtype != torch.float32:
            self.encoder_rung = _in_float32("encoded", dtype)
            with self._as_float32():
                made = original(x.float(), return_dict=return_dict)
            # The denoiser goes on in the dtype that it has.
            seen = _in_dtype(made[0], x.dtype)
            made = type(made)(seen) if return_dict else (seen,)
        if not torch.isfinite(_numbers_of(made[0])).all():
            raise not_numbers("The encoded initial picture is not numbers", dtype)
        return made

    @contextmanager
    def _as_float32(self) -> Iterator[None]:
        dtype = self._vae.dtype
        try:
            self._vae.to(dtype=torch.float32)
            yield
        finally:
            self._vae.to(dtype=dtype)

    def _decoded(self, original: Any, latents: torch.Tensor, args: Any, kwargs: Any) -> Any:
        try:
            return original(latents, *args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error) or getattr(self._vae, "use_tiling", True) or self.rung:
                raise
        # Outside the `except`: until here the failed call's tensors were held by its frames.
        free_caches()
        self.rung = "decoded in tiles, since memory ran out"
        self._vae.enable_tiling()
        try:
            return original(latents, *args, **kwargs)
        finally:
            self._vae.disable_tiling()

    def _finite(self, original: Any, made: Any, latents: torch.Tensor, args: Any, kwargs: Any) -> Any:
        if torch.isfinite(made[0]).all():
            return made
        dtype = self._vae.dtype
        if dtype != torch.float32 and torch.isfinite(latents).all():
            self.rung = _in_float32("decoded", dtype)
            with self._as_float32():
                made = original(latents.float(), *args, **kwargs)
        # Said here: what comes after would cut what is infinite to white or black.
        if not torch.isfinite(made[0]).all():
            raise not_numbers("The decoded pixels are not numbers", dtype)
        return made


def _in_float32(done: str, dtype: torch.dtype) -> str:
    return f"{done} in float32, since {str(dtype).removeprefix('torch.')} gave values that are no numbers"


def _numbers_of(encoded: Any) -> torch.Tensor:
    """Return the tensor of what an encoder gives: a distribution's parameters, or latents as they are."""
    numbers: torch.Tensor = getattr(encoded, "parameters", encoded)
    return numbers


def _in_dtype(encoded: Any, dtype: torch.dtype) -> Any:
    numbers = _numbers_of(encoded).to(dtype)
    return numbers if encoded is _numbers_of(encoded) else type(encoded)(numbers)


def free_caches() -> None:
    """Give cached memory that no tensor uses back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()

"""What to do when a device runs out of memory or a decoder of its numbers: one more try where it helps, else one clear line."""

from __future__ import annotations

import functools
import gc
import re
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
        From `Levers.relief`.
    """
    ran_out = f"The memory of {device} ran out at {size[0]}x{size[1]} pixels; {format_size(free_bytes(device))} are free now."
    ways = ["Give a smaller width and height", "free models with `%diffuse unload`"]
    ways += [f"write `%diffuse optimize {relief}`"] if relief else []
    return f"{ran_out} {', '.join(ways[:-1])}, or {ways[-1]}."


def not_numbers(what: str, dtype: torch.dtype) -> NonFiniteError:
    """Say what stopped being numbers, and the ways out in the dtype that it was computed in."""
    ways = "Try another seed." if dtype == torch.float32 else "Write `%diffuse optimize dtype float32`, or try another seed."
    return NonFiniteError(f"{what}. {ways}")


DEAD_LINE = "The GPU stopped working in this process. Restart the kernel; what was saved or stored is safe."


class GuardedDecode:
    """Watch over a VAE's `decode` for the duration of one call.

    Out of memory: the same latents are decoded once more, in tiles. Numbers that are
    none from a half-precision decoder: once more in float32. `rung` says which was
    needed, or is empty. The VAE is afterwards as it was.

    Parameters
    ----------
    vae
        An `AutoencoderKL` or `VQModel`; None does nothing.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._found: Any = None
        self.rung = ""

    def __enter__(self) -> GuardedDecode:
        if self._vae is not None:
            original = self._vae.decode
            self._found = vars(self._vae).get("decode")

            @functools.wraps(original)
            def decode(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
                made = self._decoded(original, latents, args, kwargs)
                return self._finite(original, made, latents, args, kwargs)

            self._vae.decode = decode
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._vae is not None:
            del self._vae.decode
            if self._found is not None:
                self._vae.decode = self._found

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
        sample = made[0]
        if torch.isfinite(sample).all() or self._vae.dtype == torch.float32 or not torch.isfinite(latents).all():
            return made
        dtype = self._vae.dtype
        self.rung = f"decoded in float32, since {str(dtype).removeprefix('torch.')} gave values that are no numbers"
        try:
            self._vae.to(dtype=torch.float32)
            return original(latents.float(), *args, **kwargs)
        finally:
            self._vae.to(dtype=dtype)


def free_caches() -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()

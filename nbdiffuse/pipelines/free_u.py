"""FreeU: what a UNet's skips and backbone are multiplied by for one run, and taken back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..families.number_lists import freeu_factors


@contextmanager
def freeu_for_a_run(pipeline: Any, text: str | None) -> Iterator[None]:
    """Multiply the UNet's skips and backbone during a call, and leave no factor after it, however it ends.

    The blocks are those of every pipeline on these weights: no other run's model calls may come between.

    Source: Si et al., "FreeU: Free Lunch in Diffusion U-Net", 2023; diffusers `enable_freeu`.
    """
    if text is None:
        yield
        return
    pipeline.enable_freeu(**freeu_factors(text))
    try:
        yield
    finally:
        pipeline.disable_freeu()

"""Perturbed-attention guidance (PAG): which layers it perturbs, and what it leaves of a denoiser that others use too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.attention_processor import Attention
from diffusers.pipelines.pag.pag_utils import PAGMixin

from ..errors import ParameterError, breaks_rule

_MOST_NAMED = 6
"""Layers that a refusal lists."""


def check_layers(pipeline: Any) -> None:
    """Raise `ParameterError` where a name of `pag_applied_layers` fits no self-attention of a pipeline that perturbs it.

    Source: diffusers `PAGMixin._set_pag_attn_processor`, which fails when all else is computed.
    """
    if not isinstance(pipeline, PAGMixin):
        return
    layers = _denoiser(pipeline).named_modules()
    found = [name for name, part in layers if isinstance(part, Attention) and not part.is_cross_attention]
    for layer in pipeline.pag_applied_layers:
        try:
            fits = any(re.search(layer, name) and not _is_number_alike(layer, name) for name in found)
        except re.error:
            fits = False
        if not fits or not layer:
            blocks = list(dict.fromkeys(re.split(r"\.attentions|\.attn", name)[0] for name in found))
            line = breaks_rule("pag_applied_layers", "names, or parts of names, of layers with self-attention", layer)
            raise ParameterError(f"{line} Such as: {', '.join(blocks[:_MOST_NAMED])}.")


def _denoiser(pipeline: Any) -> Any:
    return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer


def _is_number_alike(layer: str, name: str) -> bool:
    """Tell whether a name fits by its last number alone, which diffusers does not count."""
    asked, own = layer.split(".")[-1], name.split(".")[-1]
    return asked.isnumeric() and asked == own


@contextmanager
def attention_put_back(pipeline: Any) -> Iterator[None]:
    """Put the denoiser's own attention back after a call, however that ends: diffusers does so after a whole run alone."""
    if not isinstance(pipeline, PAGMixin):
        yield
        return
    denoiser = _denoiser(pipeline)
    own = dict(denoiser.attn_processors)
    try:
        yield
    finally:
        denoiser.set_attn_processor(own)

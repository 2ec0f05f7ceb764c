"""IP-Adapters: pictures that a prompt goes with, whose style or content the result takes.

Source: Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models", 2023.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from ..errors import ParameterError, breaks_rule
from ..families.parameters import Param
from ..images.picture import Picture
from .parts import Part, declared_in_part

BLOCKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "style": {"up": {"block_0": [0.0, 1.0, 0.0]}},
        "layout": {"down": {"block_2": [0.0, 1.0]}},
        "style and layout": {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.0, 1.0, 0.0]}},
    }
)
"""Blocks of SDXL's UNet that take a picture's style, its layout, or both; source: Wang et al., "InstantStyle", 2024."""


def checked_blocks(name: str, text: str) -> str:
    """Return which blocks an IP-Adapter acts in as it is kept: a word of `BLOCKS`, or JSON; raise `ParameterError` for others."""
    if text in BLOCKS:
        return text
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not set(said) <= {"down", "mid", "up"} or not _is_scales(said):
        way_out = f'Write {", ".join(BLOCKS)}, or as diffusers does: {{"up": {{"block_0": [0, 1, 0]}}}}.'
        raise ParameterError(breaks_rule(name, "blocks of the UNet with a factor for each", text, way_out))
    return json.dumps(said, sort_keys=True)


def _is_scales(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(_is_scales, value.values()))
    if isinstance(value, list):
        return bool(value) and all(map(_is_scales, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 2


@dataclass(frozen=True, kw_only=True)
class IPAdapter(Part):
    """An IP-Adapter and the picture that it looks at; one without a checkpoint adds a picture to the one before it.

    Parameters
    ----------
    checkpoint
        A .safetensors file, a folder with one, or one in a hub repository, such as
        "h94/IP-Adapter/models/ip-adapter_sd15.safetensors".
    image
        What it looks at; any mode and size.
    mask
        Where in the result it counts: white; everywhere when not given. Any mode and size.
    scale
        How strongly the picture counts beside the prompt, in [0, 2]; diffusers' `set_ip_adapter_scale`.
    blocks
        Where in the UNet it acts: a word of `BLOCKS`, or JSON as diffusers' `set_ip_adapter_scale` takes it, with
        factors of `scale`; everywhere when not given.
    image_encoder
        A directory or a hub id of the CLIP that it looks with; the one beside its file when not given.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "ip_adapter"
    REPEATED: ClassVar[str] = "ip_adapter_image"

    checkpoint: str | None = declared_in_part(
        "ip_adapter", Param(str, "IP-Adapter: a .safetensors file, or ORG/NAME/FILE; may be given several times")
    )
    image: Any = declared_in_part(
        "ip_adapter_image",
        Param(Picture, "picture whose style or content the IP-Adapter takes; may be given several times", own_size=True),
    )
    mask: Any = declared_in_part("ip_adapter_mask", Param(Picture, "where in the result that picture counts: white"))
    scale: float | None = declared_in_part(
        "ip_adapter_scale", Param(float, "how strongly that picture counts beside the prompt", 0, 2, 0.05, usual=(0, 1))
    )
    blocks: str | None = declared_in_part(
        "ip_adapter_blocks",
        Param(str, "where in the UNet it acts: style, layout, or JSON with a factor for each", checked=checked_blocks, bars=True),
    )
    image_encoder: str | None = declared_in_part(
        "ip_adapter_image_encoder", Param(str, "CLIP that it looks with: a directory or a hub id; the one beside its file")
    )

    @property
    def weight(self) -> float:
        """The scale; 1 where none was said."""
        return 1.0 if self.scale is None else self.scale

    @property
    def scales(self) -> Any:
        """What diffusers' `set_ip_adapter_scale` is given."""
        if self.blocks is None:
            return self.weight
        return _scaled(BLOCKS[self.blocks] if self.blocks in BLOCKS else json.loads(self.blocks), self.weight)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, Mapping):
        return {name: _scaled(one, factor) for name, one in value.items()}
    return [_scaled(one, factor) for one in value] if isinstance(value, list) else value * factor


def groups(adapters: Sequence[IPAdapter]) -> list[tuple[IPAdapter, tuple[int, ...]]]:
    """Return each IP-Adapter with the numbers, from 1, of the parts that hold its pictures."""
    found: list[tuple[IPAdapter, tuple[int, ...]]] = []
    for number, one in enumerate(adapters, start=1):
        if one.checkpoint is None and found:
            found[-1] = (found[-1][0], (*found[-1][1], number))
        else:
            found.append((one, (number,)))
    return found


def to_load(adapters: Sequence[IPAdapter]) -> tuple[IPAdapter, ...]:
    """Return the IP-Adapters that are loaded, in order, each with the image encoder that any of them names."""
    encoder = next((one.image_encoder for one in adapters if one.image_encoder), None)
    return tuple(replace(one, image_encoder=encoder) for one, _ in groups(adapters))

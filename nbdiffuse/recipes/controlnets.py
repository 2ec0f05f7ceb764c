"""ControlNets that have a name in this package, and what is assumed of any other one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ParameterError
from ..images.picture import Picture
from .fields import numbered_entry
from .weights_source import WeightsSource, source

if TYPE_CHECKING:
    from .preset import Preset


@dataclass(frozen=True, kw_only=True)
class ControlNetPreset:
    """A ControlNet that has a name in this package.

    Parameters
    ----------
    name
        What recipes call it.
    embedded, hub
        Its weights in this package and on the hub.
    estimator
        Checkpoint, in this package and on the hub, that makes its control image from any picture.
    """

    name: str
    embedded: WeightsSource
    hub: WeightsSource
    estimator: Mapping[str, str]

    def checkpoint(self, base: str, preset: Preset) -> str:
        """Return the weights that go with a base checkpoint."""
        return self.embedded.checkpoint if base == preset.embedded_checkpoint else self.hub.checkpoint


CONTROLNETS: Mapping[str, ControlNetPreset] = MappingProxyType(
    {
        "depth": ControlNetPreset(
            name="depth",
            embedded=WeightsSource(checkpoint="controlnet-depth", native_size=128),
            hub=WeightsSource(checkpoint="lllyasviel/control_v11f1p_sd15_depth", native_size=512, licence="OpenRAIL"),
            estimator={"embedded": "depth-estimator", "hub": "depth-anything/Depth-Anything-V2-Small-hf"},
        )
    }
)
"""Every ControlNet, by name."""


def controlnet_of(word: str) -> ControlNetPreset:
    """Return what a recipe's `controlnet` stands for: one of `CONTROLNETS`, or any other by its hub id or directory."""
    origin = WeightsSource(checkpoint=word, native_size=512)
    return CONTROLNETS.get(word) or ControlNetPreset(name=word, embedded=origin, hub=origin, estimator={})


def extra_name(number: int) -> str:
    """Return what a fingerprint and a program call a recipe's ControlNet, counted from 1: "controlnet", "controlnet_2"."""
    return numbered_entry("controlnet", number)


AUTO = "auto"
"""In place of a control picture: it is estimated from the initial one."""

_estimator: Callable[[Picture], Picture] | None = None


def estimate_with(estimator: Callable[[Picture], Picture]) -> None:
    """Set the function that estimates depth maps; the room where it is defined may not be imported here."""
    global _estimator
    _estimator = estimator


def depth_of(image: Picture) -> Picture:
    """Return the depth map that stands for "auto"; the same picture is estimated once."""
    return _depth_of(image, source())


@lru_cache(maxsize=16)
def _depth_of(image: Picture, weights: str) -> Picture:
    if _estimator is None:
        raise ParameterError(f"`control_image` must be a picture where no session is at hand, got {AUTO!r}.")
    return _estimator(image)

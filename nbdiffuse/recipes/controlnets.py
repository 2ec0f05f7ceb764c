"""ControlNets: which there are, and the fields of a recipe that speak of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ParameterError
from ..images.picture import Picture
from .origins import Origin, source

if TYPE_CHECKING:
    from .preset import Preset


@dataclass(frozen=True, kw_only=True)
class ControlNet:
    """One ControlNet.

    Parameters
    ----------
    name
        What recipes call it.
    tiny, hub
        Its weights in this package and on the hub.
    estimator
        Checkpoint, in this package and on the hub, that makes its control image from any picture.
    """

    name: str
    tiny: Origin
    hub: Origin
    estimator: Mapping[str, str]

    def checkpoint(self, base: str, preset: Preset) -> str:
        """Return the weights that go with a base checkpoint."""
        return self.tiny.checkpoint if base == preset.tiny.checkpoint else self.hub.checkpoint


CONTROLNETS: Mapping[str, ControlNet] = MappingProxyType(
    {
        "depth": ControlNet(
            name="depth",
            tiny=Origin(checkpoint="controlnet-depth", native_size=128),
            hub=Origin(checkpoint="lllyasviel/control_v11f1p_sd15_depth", native_size=512, licence="OpenRAIL"),
            estimator={"tiny": "depth-estimator", "hub": "depth-anything/Depth-Anything-V2-Small-hf"},
        )
    }
)
"""Every ControlNet, by name."""


def controlnet_of(word: str) -> ControlNet:
    """Return what a recipe's `controlnet` stands for: one of `CONTROLNETS`, or any other by its hub id or directory."""
    origin = Origin(checkpoint=word, native_size=512)
    return CONTROLNETS.get(word) or ControlNet(name=word, tiny=origin, hub=origin, estimator={})


WHOLE_RUN = {"control_guidance_start": 0.0, "control_guidance_end": 1.0}
CONTROL_FIELDS = frozenset({"controlnet", "control_image", "controlnet_conditioning_scale", *WHOLE_RUN})
"""Fields that only mean something with a ControlNet."""
SECOND: Mapping[str, str] = MappingProxyType({name: f"{name}_2" for name in sorted(CONTROL_FIELDS)})
"""The same fields of a second ControlNet; diffusers takes a list of both."""
AUTO = "auto"
"""In place of a control picture: it is estimated from the initial one."""

_estimator: Callable[[Picture], Picture] | None = None


def estimate_with(estimator: Callable[[Picture], Picture]) -> None:
    """Say who estimates depth maps: the rooms where models run stand above this one."""
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

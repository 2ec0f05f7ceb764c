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
    preprocessor
        What makes its control image from any picture: a key of `PREPROCESSORS`.
    """

    name: str
    embedded: WeightsSource
    hub: WeightsSource
    preprocessor: str = ""

    def checkpoint(self, base: str, preset: Preset) -> str:
        """Return the weights that go with a base checkpoint."""
        return self.embedded.checkpoint if base == preset.embedded_checkpoint else self.hub.checkpoint


CONTROLNETS: Mapping[str, ControlNetPreset] = MappingProxyType(
    {
        "depth": ControlNetPreset(
            name="depth",
            embedded=WeightsSource(checkpoint="controlnet-depth", native_size=128),
            hub=WeightsSource(checkpoint="lllyasviel/control_v11f1p_sd15_depth", native_size=512, licence="OpenRAIL"),
            preprocessor="depth",
        ),
        "canny": ControlNetPreset(
            name="canny",
            embedded=WeightsSource(checkpoint="controlnet-canny", native_size=128),
            hub=WeightsSource(checkpoint="lllyasviel/control_v11p_sd15_canny", native_size=512, licence="OpenRAIL"),
            preprocessor="canny",
        ),
    }
)
"""Every ControlNet, by name."""
PREPROCESSORS: Mapping[str, str] = MappingProxyType(
    {"depth": "estimated depth", "canny": "edges", "lineart": "lines", "scribble": "scribble", "tile": "picture to keep to"}
)
"""What makes a control picture from any picture, by name; each with what people call the result."""
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("softedge", "soft edge", "soft_edge", "hed"), "HEDdetector"),
        **dict.fromkeys(("openpose", "pose"), "OpenposeDetector"),
        **dict.fromkeys(("normal", "normalbae"), "NormalBaeDetector"),
        **dict.fromkeys(("pidinet", "pidi"), "PidiNetDetector"),
        "mlsd": "MLSDdetector",
    }
)
"""Preprocessors that people know and this package has no model for, with the class of controlnet-aux that makes the picture."""
DEPTH_ESTIMATORS: Mapping[str, str] = MappingProxyType(
    {"embedded": "depth-estimator", "hub": "depth-anything/Depth-Anything-V2-Small-hf"}
)
"""Checkpoints that estimate depth, in this package and on the hub."""


def controlnet_of(word: str) -> ControlNetPreset:
    """Return what a recipe's `controlnet` stands for: one of `CONTROLNETS`, or any other by its hub id or directory."""
    origin = WeightsSource(checkpoint=word, native_size=512)
    return CONTROLNETS.get(word) or ControlNetPreset(name=word, embedded=origin, hub=origin)


def extra_name(number: int) -> str:
    """Return what a fingerprint and a program call a recipe's ControlNet, counted from 1: "controlnet", "controlnet_2"."""
    return numbered_entry("controlnet", number)


AUTO = "auto"
"""In place of a control picture: it is made from the initial one, by the ControlNet's own preprocessor or by another one that
is named behind it, such as "auto:canny"."""

_preprocess: Callable[[Picture, str], Picture] | None = None


def preprocess_with(function: Callable[[Picture, str], Picture]) -> None:
    """Set the function that makes control pictures; the room where it is defined may not be imported here."""
    global _preprocess
    _preprocess = function


def is_auto(image: object) -> bool:
    """Whether a control picture is still to be made."""
    return isinstance(image, str)


def preprocessor_of(word: str, net: str) -> str:
    """Return the name of what makes a ControlNet's picture for a word such as "auto"; "" where the word leaves it open."""
    return word.partition(":")[2].strip() or controlnet_of(net).preprocessor


def preprocessed(image: Picture, name: str) -> Picture:
    """Return the control picture that a preprocessor makes; of the same picture it is made once."""
    return _preprocessed(image, name, source())


@lru_cache(maxsize=16)
def _preprocessed(image: Picture, name: str, weights: str) -> Picture:
    if _preprocess is None:
        raise ParameterError(f"`control_image` must be a picture where no session is at hand, got {AUTO!r}.")
    return _preprocess(image, name)

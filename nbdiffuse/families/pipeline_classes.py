"""What the families say of one of diffusers' pipeline classes."""

from __future__ import annotations

from .families import FAMILIES
from .family import UNION


def controlnet_class(pipeline: str) -> str:
    """Return diffusers' class of the ControlNets that one of its pipelines takes."""
    found = ((family, mode) for family in FAMILIES.values() for mode, name in family.pipelines.items() if name == pipeline)
    return next((UNION if mode.endswith("-union") else family.controlnet for family, mode in found), "ControlNetModel")


def draws_unseeded(pipeline: str) -> bool:
    """Tell whether one of diffusers' pipelines draws some numbers without the generator that it is given."""
    return any(family.pipelines[mode] == pipeline for family in FAMILIES.values() for mode in family.unseeded)

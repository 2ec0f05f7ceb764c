"""What the families say of one of diffusers' pipeline classes."""

from __future__ import annotations

from .families import FAMILIES


def controlnet_class(pipeline: str) -> str:
    """Return diffusers' class of the ControlNets that one of its pipelines takes."""
    found = (family.controlnet for family in FAMILIES.values() if pipeline in family.pipelines.values())
    return next(found, "ControlNetModel")


def draws_unseeded(pipeline: str) -> bool:
    """Tell whether one of diffusers' pipelines draws some numbers without the generator that it is given."""
    return any(family.pipelines[mode] == pipeline for family in FAMILIES.values() for mode in family.unseeded)

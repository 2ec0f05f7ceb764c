"""Names of a recipe's fields on every surface, and where in the recipe each one's value is.

A field of the core and an argument of a family have diffusers' name. A field of a part has the
name of its option for the first part of its kind ("control_image"), and its place for any
("controlnets.2.image"). A part with a notation is one text: "lora", "loras.2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ParameterError, did_you_mean
from ..families.arguments import ARGUMENTS, argument
from ..families.parameters import Param
from .corrections import Corrections
from .ip_adapter import IPAdapter
from .lora import Lora
from .parts import ControlNet, Mask, Part, declarations
from .reference import Reference
from .scheduler_config import SchedulerConfig
from .textual_inversion import TextualInversion
from .variation import Variation

PARTS: Mapping[str, type[Part]] = MappingProxyType(
    {
        "mask": Mask,
        "references": Reference,
        "controlnets": ControlNet,
        "ip_adapters": IPAdapter,
        "loras": Lora,
        "embeddings": TextualInversion,
        "scheduler_config": SchedulerConfig,
        "variation": Variation,
        "corrections": Corrections,
    }
)
"""The kinds of part, by the recipe's field that holds them."""
SINGLE = frozenset({"mask", "scheduler_config", "variation", "corrections"})
"""Of these a recipe has one or none; of the others any number."""
MOST_PARTS = 100
FORMAT_1 = MappingProxyType(
    {
        "controlnet_2": "controlnets.2.checkpoint",
        "control_image_2": "controlnets.2.image",
        "controlnet_conditioning_scale_2": "controlnets.2.scale",
        "control_guidance_start_2": "controlnets.2.start",
        "control_guidance_end_2": "controlnets.2.end",
    }
)
"""Names that a field had before recipes had parts."""
_PLACE = re.compile(r"(?P<part>[a-z_]+)(?:\.(?P<number>[1-9][0-9]{0,2}))?(?:\.(?P<attribute>[a-z_]+))?")


@dataclass(frozen=True)
class Place:
    """Where in a recipe a field's value is.

    Parameters
    ----------
    name
        The one name that is shown and stored.
    param
        What it may hold.
    part
        A key of `PARTS`, "arguments" for a family's argument, or "" for the core.
    number
        Which part of its kind, from 1.
    attribute
        The part's field; "" where the whole part is one text.
    """

    name: str
    param: Param
    part: str = ""
    number: int = 1
    attribute: str = ""


def _places_of_parts() -> Iterator[Place]:
    for part, kind in PARTS.items():
        if kind.NOTATION:
            yield Place(kind.NOTATION, Param(str, kind.FORM), part)
            continue
        for attribute, declaration in declarations(kind).items():
            yield Place(declaration.metadata["name"], declaration.metadata["param"], part, 1, attribute)


OF_PARTS: Mapping[str, Place] = MappingProxyType({place.name: place for place in _places_of_parts()})
"""The fields of the first part of each kind, by name."""

CALLED_AS: Mapping[str, str] = MappingProxyType(
    {
        declaration.metadata["name"]: declaration.metadata["argument"]
        for kind in PARTS.values()
        for declaration in declarations(kind).values()
        if declaration.metadata["argument"] != declaration.metadata["name"]
    }
)
"""Arguments of diffusers' calls that get a part's field under another name, by the field's."""


def numbered(name: str, number: int) -> str:
    """Return the name of a part's field for another part of its kind, such as "controlnets.2.image" for "control_image"."""
    place = OF_PARTS[name]
    if number == 1:
        return name
    return f"{place.part}.{number}" + (f".{place.attribute}" if place.attribute else "")


def numbered_entry(name: str, number: int) -> str:
    """Return what a fingerprint calls a part of some kind, counted from 1: "controlnet", "controlnet_2"."""
    return name if number == 1 else f"{name}_{number}"


def first_name(name: str) -> str:
    """Return the name of the same field of the first part of its kind; any other name as it is."""
    asked = _numbered(name)
    if asked is None:
        return name
    alike = (one.name for one in OF_PARTS.values() if (one.part, one.attribute) == (asked.part, asked.attribute))
    return next(alike, name)


def names_of(part: str, number: int = 1) -> tuple[str, ...]:
    """Return the names of one part's fields; `part` is a key of `PARTS`."""
    return tuple(numbered(name, number) for name, place in OF_PARTS.items() if place.part == part)


def place_of(name: str, core: Mapping[str, Param]) -> Place | None:
    """Return the place of a field by any of its names, or None where there is none.

    Parameters
    ----------
    name
        Such as "strength", "control_image", "controlnets.2.image", "aesthetic_score".
    core
        The recipe's own fields.
    """
    if name in core:
        return Place(name, core[name])
    if name in OF_PARTS:
        return OF_PARTS[name]
    if name in FORMAT_1:
        return place_of(FORMAT_1[name], core)
    if name in ARGUMENTS:
        return Place(name, ARGUMENTS[name], "arguments")
    found = _numbered(name) or _by_option(name)
    if found is not None:
        return found
    param = argument(name) if name.isidentifier() else None
    return None if param is None else Place(name, param, "arguments")


def _numbered(name: str) -> Place | None:
    """Read "controlnets.2.image", "mask.image" or "loras.2"."""
    asked = _PLACE.fullmatch(name)
    if asked is None or asked["part"] not in PARTS or "." not in name:
        return None
    part, kind = asked["part"], PARTS[asked["part"]]
    if (asked["number"] is None) != (part in SINGLE):
        return None
    number, attribute = int(asked["number"] or 1), asked["attribute"] or ""
    if number > MOST_PARTS:
        raise ParameterError(f"`{part}` must be at most {MOST_PARTS}, got number {number}.")
    if not attribute:
        return (
            Place(name if number > 1 else kind.NOTATION, OF_PARTS[kind.NOTATION].param, part, number) if kind.NOTATION else None
        )
    declaration = declarations(kind).get(attribute)
    if declaration is None:
        raise ParameterError(f"`{name}` is no field of a {kind.TITLE}. {did_you_mean(attribute, declarations(kind))}")
    first = OF_PARTS.get(declaration.metadata["name"])
    shown = first.name if first and number == 1 else name
    return Place(shown, declaration.metadata["param"], part, number, attribute)


def _by_option(name: str) -> Place | None:
    """Find a field of a first part by its own name, where the whole part is usually one text, such as "lora_scale"."""
    for part, kind in PARTS.items():
        for attribute, declaration in declarations(kind).items():
            if declaration.metadata["name"] == name:
                return Place(f"{part}.1.{attribute}", declaration.metadata["param"], part, 1, attribute)
    return None

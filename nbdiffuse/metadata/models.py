"""Checkpoints that other tools name: which preset runs their kind, as far as the name or the size tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

DEFAULT = "sd15"
_REFINER = re.compile(r"xl.*refiner", re.IGNORECASE)
_XL = re.compile(r"XL|(?i:sdxl|xl(?![a-z])|pony|illustrious|noobai|animagine|playground-?v2)")
_EDIT = re.compile(r"instruct.?pix.?2.?pix|\bip2p\b", re.IGNORECASE)
_SD15 = re.compile(r"(?:sd|stable.?diffusion|\bv)[ ._-]?1[ ._-]?[45]|sd-1\b", re.IGNORECASE)
_OTHERS: Mapping[str, re.Pattern[str]] = {
    "Flux": re.compile(r"flux|chroma", re.IGNORECASE),
    "Stable Diffusion 3": re.compile(r"(?:sd|stable.?diffusion)[ ._-]?3", re.IGNORECASE),
    "Stable Diffusion 2": re.compile(r"(?:sd|stable.?diffusion|\bv)[ ._-]?2(?:[ ._-]?[01])?(?:[ ._-]|$)|768-v", re.IGNORECASE),
    "Qwen-Image": re.compile(r"qwen", re.IGNORECASE),
    "Z-Image": re.compile(r"z[ ._-]?image", re.IGNORECASE),
    "PixArt": re.compile(r"pixart", re.IGNORECASE),
    "Hunyuan": re.compile(r"hunyuan", re.IGNORECASE),
    "Wan": re.compile(r"\bwan[ ._-]?2", re.IGNORECASE),
}
_LEAST_XL = 950_000
"""Pixels from which on a picture drawn in one pass is rather one of SDXL, which draws about a million."""


def preset_for(name: str, width: Any = None, height: Any = None) -> tuple[str | None, str]:
    """Return the preset that runs a checkpoint's kind, None where that is not known, and how it was told.

    Parameters
    ----------
    name
        Of the checkpoint, or of its family, as another tool writes it.
    width, height
        Of a picture drawn in one pass from words alone, in pixels; None else.

    Examples
    --------
    >>> preset_for("juggernautXL_v8")
    ('sdxl', 'its name says SDXL')
    """
    for family, looks in _OTHERS.items():
        if looks.search(name):
            return None, f"its name says {family}, which no preset runs"
    if _REFINER.search(name):
        return "sdxl-refiner", "its name says SDXL's refiner"
    if _XL.search(name):
        return "sdxl", "its name says SDXL"
    if _EDIT.search(name):
        return "edit", "its name says InstructPix2Pix"
    if _SD15.search(name):
        return DEFAULT, "its name says Stable Diffusion 1"
    if isinstance(width, int) and isinstance(height, int) and width * height >= _LEAST_XL:
        return "sdxl", f"{width}x{height} is a size of SDXL's"
    return None, ""


def choose(
    values: dict[str, Any], name: Any, digest: Any = None, *, family: str = "", key: str = "Model", size_tells: bool = True
) -> list[str]:
    """Put the preset for a checkpoint into `model`, where none stands there; return what a person should know.

    Parameters
    ----------
    values
        Recipe fields by name; the size and the strength among them help to tell.
    name, digest
        Of the checkpoint; None where it is not said.
    family
        What else the tool says about its kind.
    key
        What the tool calls it.
    size_tells
        Whether the size is that of a picture drawn in one pass.
    """
    shown = PurePosixPath(str(name or "").replace("\\", "/")).name
    drawn = size_tells and "strength" not in values
    size = (values.get("width"), values.get("height")) if drawn else (None, None)
    preset, told = preset_for(f"{shown} {family}".strip(), *size)
    if preset == "sdxl-refiner" and "strength" not in values:
        preset = "sdxl"  # which draws what the refiner redraws
    if preset not in (None, DEFAULT):
        values.setdefault("model", preset)
    taken = values.get("model", DEFAULT)
    if not (shown or digest or (told and preset != taken) or preset not in (None, DEFAULT)):
        return []
    said = [repr(shown[:80])] if shown else []
    said += [f"hash {str(digest)[:80]!r}"] if digest else []
    said += [told] if told else []
    return [f"Not carried over: {key}: {', '.join(said)}. The cell runs {taken}'s own weights; give others as `--checkpoint`."]

"""Checkpoints that were distilled to few steps: their number of steps and their guidance, as they or their cards say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .description import describe, file_of
from .hub_ids import parse_hub_id
from .single_file import few_steps_of


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """How a distilled checkpoint is run.

    Parameters
    ----------
    steps
        Of the schedule: its default.
    guidance
        Its `guidance_scale`; None where its pipeline's default is its own too.
    fewest
        Steps that it may be run with as well.
    source
        What says so, such as "its card".
    scheduler, timestep_spacing
        That it is run with, where a LoRA needs others than its base brings.
    """

    steps: int
    guidance: float | None = 0.0
    fewest: int = 1
    source: str = "its card"
    scheduler: str | None = None
    timestep_spacing: str | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        """Its steps and guidance, by field."""
        guidance = {} if self.guidance is None else {"guidance_scale": self.guidance}
        return {"num_inference_steps": self.steps, **guidance}

    @property
    def sampling(self) -> Mapping[str, str]:
        """The fields of the scheduler that a LoRA needs."""
        found = {"scheduler": self.scheduler, "timestep_spacing": self.timestep_spacing}
        return {name: value for name, value in found.items() if value is not None}


_FOUR = Distilled(steps=4)
DISTILLED: Mapping[str, Distilled] = MappingProxyType(
    {
        "stabilityai/sdxl-turbo": _FOUR,
        "stabilityai/sd-turbo": _FOUR,
        "stabilityai/stable-diffusion-3.5-large-turbo": _FOUR,
        "black-forest-labs/FLUX.1-schnell": _FOUR,
        "shuttleai/shuttle-3-diffusion": Distilled(steps=4, guidance=3.5),
        "black-forest-labs/FLUX.2-klein-4B": Distilled(steps=4, guidance=1.0),
        "black-forest-labs/FLUX.2-klein-9B": Distilled(steps=4, guidance=1.0),
        # The last of nine has no noise left, and changes nothing.
        "Tongyi-MAI/Z-Image-Turbo": Distilled(steps=9),
    }
)
"""By hub id. Source: the first example of each card, and diffusers' guide "Stable Diffusion XL Turbo"."""
_BY_SCHEDULER = {"LCM": 1.0, "TCD": 0.0}
"""Schedulers that only distilled checkpoints are saved with, each with its `guidance_scale`.

Source: the examples of LCMScheduler and TCDScheduler in diffusers' documentation.
"""
_LORAS: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"lcm-lora-(sdv1-5|sdxl|ssd-1b)", {"steps": 4, "guidance": 1.0, "scheduler": "LCM"}),
    # The one in this package; its figures are in the report of the embedded checkpoints.
    (r"lcm-lora", {"steps": 4, "guidance": 1.5, "scheduler": "LCM", "source": "its report"}),
    (r"sdxl_lightning_(?P<steps>[248])step_lora", {"scheduler": "EulerDiscrete", "timestep_spacing": "trailing"}),
    (r"Hyper-(SD15|SDXL)-(?P<steps>[248])steps?-lora", {"scheduler": "DDIM", "timestep_spacing": "trailing"}),
    (r"Hyper-(SD15|SDXL)-(?P<steps>8|12)steps-CFG-lora", {"guidance": None, "scheduler": "DDIM", "timestep_spacing": "trailing"}),
    (r"Hyper-FLUX\.1-dev-(?P<steps>8|16)steps-lora", {"guidance": 3.5}),
    (r"Hyper-SD3-(?P<steps>4|8|16)steps-CFG-lora", {"guidance": None}),
)
"""LoRA that distil what they are added to, by their repository's or their file's name. Source: the examples of their cards."""
_NAMED = re.compile(r"(?<![a-z])(turbo|lightning|hyper|lcm)(?![a-z])", re.I)


def distilled(checkpoint: str) -> Distilled | None:
    """Tell how a distilled checkpoint is run; None for one that is not known to be one.

    It is known by its hub id, by the hub id that its index says it was saved from, by its
    scheduler, by the mark of Flux 2 Klein, or by the name that its publisher gave a single file.

    Parameters
    ----------
    checkpoint
        A name of the embedded family, a local directory or .safetensors file, or a hub id.
    """
    if checkpoint.endswith(".safetensors"):
        steps = few_steps_of(checkpoint)
        return Distilled(steps=steps[-1], fewest=steps[0], source="its name") if steps else None
    asked = parse_hub_id(checkpoint)
    if asked and asked[0] in DISTILLED:
        return DISTILLED[asked[0]]
    described = describe(checkpoint)
    if described is None:
        return None
    if described.saved_from in DISTILLED:
        return DISTILLED[described.saved_from]
    if described.is_distilled:
        return Distilled(steps=4, guidance=1.0, source="its index")
    named = described.pipeline_class or ""
    if described.scheduler not in _BY_SCHEDULER or named.startswith("LatentConsistency"):
        return None
    guidance = None if described.embeds_guidance else _BY_SCHEDULER[described.scheduler]
    return Distilled(steps=4, guidance=guidance, fewest=1, source=f"its scheduler {described.scheduler}")


def distilled_lora(word: str) -> Distilled | None:
    """Tell how a base is run with a LoRA that distils it; None for one that is not known to do so.

    Parameters
    ----------
    word
        A file, or a hub id with or without a file in it.
    """
    for part in re.split(r"[/\\]", word.partition("@")[0]):
        for pattern, values in _LORAS:
            if found := re.fullmatch(pattern, part.removesuffix(".safetensors"), re.I):
                steps = {"steps": int(found["steps"])} if "steps" in found.groupdict() else {}
                return Distilled(**{**values, **steps})
    return None


def only_named(checkpoint: str) -> str:
    """Return the word in a single file's name that distilled checkpoints are called by, where nothing else says it; else ""."""
    found = _NAMED.search(re.split(r"[/\\]", checkpoint.rstrip("/\\"))[-1].replace("_", " "))
    if found is None or distilled(checkpoint) is not None or file_of(checkpoint) is None:
        return ""
    return found[1]

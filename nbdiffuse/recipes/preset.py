"""A preset: a name for weights of a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..errors import ParameterError
from ..families.diffusers_classes import init_defaults
from ..families.family import PAG
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_names import sampler_of
from ..families.schedulers import FLOW_SCHEDULERS
from ..families.schedulers import SCHEDULERS as SCHEDULERS
from .corrections import corrects
from .family_traits import TASKS as TASKS
from .family_traits import FamilyTraits
from .fields import OF_PARTS, numbered
from .recipe import Recipe
from .weights_source import WeightsSource

VISION = "vision"
"""The extra of this package that brings what `Family.libraries` names."""


@dataclass(frozen=True, kw_only=True)
class Preset(FamilyTraits):
    """A name for weights of a family: where they are, and what calls their style.

    Parameters
    ----------
    name
        What recipes and people call it.
    family
        Key of `families.FAMILIES`; everything else about how it runs is said there.
    embedded, hub
        Its weights in this package and on the hub, or None.
    title
        What people call it; the family's title when not given.
    trigger
        Words of the prompt that call its style.
    scheduler
        Class, without "Scheduler", that its originals are saved with; shown until they are on this disk.
    controlnets
        Names of `CONTROLNETS` made for it.
    modes
        Those of its family that its weights, which are given the mask itself, are for; all of them when empty.
    """

    name: str
    family: str
    embedded: WeightsSource | None = None
    hub: WeightsSource | None = None
    title: str = ""
    trigger: str = ""
    scheduler: str | None = None
    controlnets: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self._family.title)

    def keeps_latents(self, recipe: Recipe) -> bool:
        """Tell whether the result of a recipe has latents; inpainting and corrections change the picture after its last step."""
        return self.gives_latents and recipe.mask is None and not corrects(recipe.corrections)

    def unseeded(self, recipe: Recipe) -> bool:
        """Tell whether the pipeline of a recipe draws some numbers with torch's own generator, whatever it is given."""
        return self.mode(recipe) in self._family.unseeded

    def missing_config(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return settings that the pipeline of a recipe reads from its transformer's config, and no checkpoint says."""
        return self._family.missing_config.get(self.mode(recipe), {})

    def require_libraries(self) -> None:
        """Raise `ParameterError` where something that its models need is not installed."""
        for library in self._family.libraries:
            if find_spec(library) is None:
                way_out = f'Run `pip install "nbdiffuse[{VISION}]"`, or `pip install {library}` for the torch that is here.'
                raise ParameterError(f"`model` {self.name} needs {library}, and it is not installed. {way_out}")

    def constants(self, width: int, height: int) -> dict[str, Any]:
        """Return the arguments of its calls that no field holds, for a result of a size in pixels."""
        area = self._family.area_argument
        return {**({area: width * height} if area else {}), **self._family.fixed}

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Names that are offered for its `scheduler`; others may be typed."""
        offered = SCHEDULERS if self._family.scheduler == "noise" else FLOW_SCHEDULERS
        return tuple(name for name in offered if self.takes_scheduler(name)) if self.scheduler_needs else offered

    def takes_scheduler(self, name: str) -> bool:
        """Tell whether its pipelines can be driven by a scheduler class of diffusers, also by another tool's name for it."""
        sampler = None if scheduler_class(name) is not None else sampler_of(name)
        found = scheduler_class(sampler.scheduler or name if sampler is not None else name)
        return found is not None and found.serves(self.scheduler_needs, self.scheduler_kind)

    @property
    def embedded_checkpoint(self) -> str | None:
        """Name of its checkpoint in this package, or None."""
        return self.embedded.checkpoint if self.embedded else None

    @property
    def hub_checkpoint(self) -> str | None:
        """Hub id of its original, or None."""
        return self.hub.checkpoint if self.hub else None

    def origin(self, source: str) -> WeightsSource | None:
        """Return its weights in this package ("embedded") or on the hub ("hub"); the other ones where there are none of these."""
        return self.hub or self.embedded if source == "hub" else self.embedded or self.hub

    def origin_of(self, checkpoint: str) -> WeightsSource:
        """Return what is known about a checkpoint; of one that this table does not name, what the original is like."""
        known = next((one for one in (self.embedded, self.hub) if one and one.checkpoint == checkpoint), self.hub)
        return known or WeightsSource(checkpoint=checkpoint, native_size=1024, size_multiple=self._family.size_multiple)

    def defaults_for(self, mode: str) -> dict[str, Any]:
        """Return the values for fields left open, for one of its `pipelines`; of the nearest one for another mode."""
        alike = (one for one in self.pipelines if one.partition("+")[0] == mode.partition("+")[0])
        mode = mode if mode in self.pipelines else next(alike, next(iter(self.pipelines)))
        return {**self._family.defaults(mode), "scheduler": self.scheduler}

    def values_for(self, recipe: Recipe) -> dict[str, Any]:
        """Return the values for what a recipe leaves open."""
        mode = self.mode(recipe)
        values = self.defaults_for(mode if mode in self.pipelines else self.task(recipe))
        if recipe.noise is not None or recipe.get("denoising_start") is not None:
            values.pop("strength", None)  # the run begins there, whatever the strength
        for number in range(2, len(recipe.controlnets) + 1):
            first_name = [name for name, place in OF_PARTS.items() if place.part == "controlnets" and name in values]
            values |= {numbered(name, number): values[name] for name in first_name}
        return values

    def pipeline(self, recipe: Recipe) -> str:
        """Return the diffusers pipeline class that runs a recipe."""
        return self.pipelines[self.mode(recipe)]

    def options(self, recipe: Recipe) -> dict[str, Any]:
        """Return what the pipeline's constructor takes of a complete recipe."""
        given = {name: recipe.arguments[name] for name in init_defaults(self.pipeline(recipe)) if name in recipe.arguments}
        layers = given.get("pag_applied_layers")
        return given if layers is None else {**given, "pag_applied_layers": [one.strip() for one in layers.split("+")]}

    def task(self, recipe: Recipe) -> str:
        """Return which of `TASKS` a recipe asks of it; with a picture an editing family edits."""
        return "edit" if recipe.task == "img2img" and self.edits else recipe.task

    def mode(self, recipe: Recipe) -> str:
        """Return the key of `pipelines` that a recipe asks for, such as "img2img+controlnet"."""
        mode = self.task(recipe) + ("+mask" if recipe.mask is not None else "")
        mode += "+controlnet" if recipe.controlnets else ""
        if f"{mode}-union" in self.pipelines and any(net.mode is not None for net in recipe.controlnets):
            mode += "-union"
        return mode + ("+pag" if any(recipe.get(name) is not None for name in PAG) else "")

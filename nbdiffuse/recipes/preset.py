"""A preset: a name for weights of a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from ..errors import ParameterError
from ..families.diffusers_classes import call_defaults, init_defaults
from ..families.families import FAMILIES
from ..families.family import PAG, Family
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_names import sampler_of
from ..families.schedulers import FLOW_SCHEDULERS
from ..families.schedulers import SCHEDULERS as SCHEDULERS
from .corrections import corrects
from .fields import OF_PARTS, numbered
from .recipe import Recipe
from .weights_source import WeightsSource

VISION = "vision"
"""The extra of this package that brings what `Family.libraries` names."""
TASKS = ("txt2img", "img2img", "edit")
"""What a preset may do: draw from a prompt, redraw a picture to a strength, edit one by an instruction."""


@dataclass(frozen=True, kw_only=True)
class Preset:
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

    @property
    def _family(self) -> Family:
        whole = FAMILIES[self.family]
        return replace(whole, modes=self.modes, masks_latents=frozenset()) if self.modes else whole

    @property
    def pipelines(self) -> Mapping[str, str]:
        """diffusers pipeline class for each way to run it, see `family.MODES`."""
        return self._family.pipelines

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it takes, beside prompt, pictures and size."""
        return self._family.fields

    @property
    def scale(self) -> int:
        """Sides of the result over sides of the initial picture."""
        return self._family.scale

    @property
    def size_arguments(self) -> Mapping[str, str]:
        """Arguments of the img2img call that take the size, each with the recipe's field."""
        return self._family.size_arguments

    @property
    def takes_latents(self) -> bool:
        """Whether its img2img pipeline goes on from latents of its own VAE."""
        return self._family.takes_latents

    @property
    def gives_latents(self) -> bool:
        """Whether a pipeline that takes latents of the same VAE goes on from those of its results."""
        return self.takes_latents if self._family.gives_latents is None else self._family.gives_latents

    def keeps_latents(self, recipe: Recipe) -> bool:
        """Tell whether the result of a recipe has latents; inpainting and corrections change the picture after its last step."""
        return self.gives_latents and recipe.mask is None and not corrects(recipe.corrections)

    @property
    def packed(self) -> bool:
        """Whether a step's latents are a row of patches, see `Family`."""
        return self._family.packed

    @property
    def masks_latents(self) -> frozenset[str]:
        """Modes in which a mask may act on latents, see `Family`."""
        return self._family.masks_latents

    @property
    def broken(self) -> Mapping[str, str]:
        """Modes that diffusers cannot run, each with what is wrong."""
        return self._family.broken

    @property
    def square(self) -> bool:
        """Whether its img2img pipeline runs squares alone."""
        return self._family.square

    @property
    def references(self) -> Mapping[str, int]:
        """How many pictures beside the initial one its modes take at most, see `Family`."""
        return self._family.references

    @property
    def picture_shape(self) -> tuple[int, float]:
        """Least side in pixels, and greatest ratio of the sides, of each picture that it edits or looks at."""
        return self._family.least_side, self._family.most_ratio

    def unseeded(self, recipe: Recipe) -> bool:
        """Tell whether the pipeline of a recipe draws some numbers with torch's own generator, whatever it is given."""
        return self.mode(recipe) in self._family.unseeded

    def missing_config(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return settings that the pipeline of a recipe reads from its transformer's config, and no checkpoint says."""
        return self._family.missing_config.get(self.mode(recipe), {})

    @property
    def most_controlnets(self) -> float:
        """How many ControlNets a run takes at most."""
        return self._family.most_controlnets

    @property
    def most_area(self) -> Mapping[str, int]:
        """Pixels that the results of its modes have at most, see `Family`."""
        return self._family.most_area

    @property
    def limits(self) -> Mapping[str, float]:
        """Greatest values of arguments that its calls take, see `Family`."""
        return self._family.limits

    @property
    def scheduler_kind(self) -> str:
        """Kind of scheduler that it runs on: "noise" or "flow"."""
        return self._family.scheduler

    @property
    def scheduler_needs(self) -> str:
        """What its pipelines need of a scheduler, see `Family`."""
        return self._family.scheduler_needs

    @property
    def step_rule(self) -> str:
        """How `strength` decides the number of steps, a key of `step_rules.RULES`."""
        return self._family.steps

    @property
    def strength_is_start(self) -> bool:
        """Whether the same number of steps is the same picture, whatever the strength."""
        return self._family.strength_is_start

    @property
    def adds_noise_itself(self) -> bool:
        """Whether its pipelines add as much noise as the strength says, and not as the first step has."""
        return self._family.adds_noise_itself

    @property
    def flow_spacing(self) -> dict[str, Any]:
        """How its pipelines space and shift a flow's noise levels, for `flow_sigmas`; those that shift space them, too."""
        return {"shift": self._family.shift_rule, "evenly": self.scheduler_needs == "shift"}

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
    def guidance_rows(self) -> int:
        """Rows of one model call of a recipe with guidance."""
        return self._family.guidance_rows

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it can do: any of "txt2img", "img2img" and "edit"."""
        return tuple(task for task in TASKS if any(mode.partition("+")[0] == task for mode in self.pipelines))

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Names that are offered for its `scheduler`; others may be typed."""
        offered = SCHEDULERS if self._family.scheduler == "noise" else FLOW_SCHEDULERS
        return tuple(name for name in offered if self.takes_scheduler(name)) if self.scheduler_needs else offered

    @property
    def inpaints(self) -> bool:
        """Whether it redraws the part of a picture that a mask says."""
        return any(mode.endswith("+mask") for mode in self.pipelines)

    @property
    def takes_ip_adapters(self) -> bool:
        """Whether its pipelines take the pictures of IP-Adapters."""
        return self._family.takes_ip_adapters

    @property
    def varies_noise(self) -> bool:
        """Whether its text-to-image pipelines take the noise that they begin with, as a UNet's latents."""
        noise = self.scheduler_kind == "noise" and self.scheduler_needs in ("", "denoised")
        return noise and "txt2img" in self.pipelines and "latents" in call_defaults(self.pipelines["txt2img"])

    @property
    def edits(self) -> bool:
        """Whether what it does to pictures is to edit them by an instruction, without a strength."""
        return "edit" in self.tasks

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

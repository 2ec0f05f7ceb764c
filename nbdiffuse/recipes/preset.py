"""A preset: one model family as data, and the way in which it runs a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..families.scheduler_classes import scheduler_class
from ..families.schedulers import SCHEDULERS as SCHEDULERS
from .controlnets import SECOND
from .origins import Origin
from .recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One model family with one set of weights.

    Parameters
    ----------
    name, title
        What recipes and people call it.
    pipelines
        diffusers pipeline class for each way to run it: "txt2img" or "img2img", with
        "+controlnet" or "+mask" behind it.
    defaults
        Values for the fields that a recipe leaves open, and with that the fields it
        takes; None for a field that may stay open.
    defaults_of
        Further values, or other ones, for some of its `pipelines`.
    tiny, hub
        Its weights in this package and on the hub.
    scheduler_needs
        What its pipelines need of a scheduler: "generator" for one whose `step` takes a
        generator and whose latents go to the model as they are, "sigmas" for one that
        keeps its noise levels in `sigmas` and scales the latents by them, "" for nothing special.
    trigger
        Words of the prompt that call its style.
    scale
        Sides of the result over sides of the initial picture.
    size_arguments
        Arguments of the img2img call that take the size, each with the recipe's field.
    takes_latents
        Whether its img2img pipeline goes on from latents of its own VAE.
    controlnets
        Names of `CONTROLNETS` made for it.
    only_img2img
        Fields that need an initial picture.
    """

    name: str
    title: str
    pipelines: Mapping[str, str]
    defaults: Mapping[str, Any]
    tiny: Origin
    hub: Origin
    defaults_of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scheduler_needs: str = ""
    trigger: str = ""
    scale: int = 1
    size_arguments: Mapping[str, str] = field(default_factory=dict)
    takes_latents: bool = True
    controlnets: tuple[str, ...] = ()
    only_img2img: frozenset[str] = field(
        default=frozenset({"image", "strength", "resize_mode", "mask_image", "aesthetic_score", "negative_aesthetic_score"})
    )

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it can do: "txt2img", "img2img" or both."""
        return tuple(task for task in ("txt2img", "img2img") if task in self.pipelines)

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Names that are offered for its `scheduler`; others may be typed."""
        if not self.scheduler_needs:
            return SCHEDULERS
        return tuple(name for name in SCHEDULERS if self.takes_scheduler(name))

    def takes_scheduler(self, name: str) -> bool:
        """Tell whether its pipelines can be driven by a scheduler class of diffusers."""
        found = scheduler_class(name)
        return found is not None and found.serves(self.scheduler_needs)

    def origin(self, source: str) -> Origin:
        """Return its weights in this package ("tiny") or on the hub ("hub")."""
        return self.hub if source == "hub" else self.tiny

    def origin_of(self, checkpoint: str) -> Origin:
        """Return what is known about a checkpoint; of one that this table does not name, what the hub's original is like."""
        return self.tiny if checkpoint == self.tiny.checkpoint else self.hub

    def defaults_for(self, way: str) -> dict[str, Any]:
        """Return the values for fields left open, for one of its `pipelines`."""
        task = way.partition("+")[0]
        merged = {**self.defaults, **self.defaults_of.get(way, {})}
        return {name: value for name, value in merged.items() if not (task == "txt2img" and name in self.only_img2img)}

    def values_for(self, recipe: Recipe) -> dict[str, Any]:
        """Return the values for what a recipe leaves open."""
        values = self.defaults_for(way(recipe))
        if recipe.controlnet_2:
            values |= {second: values[name] for name, second in SECOND.items() if name in values}
        return values

    def pipeline(self, recipe: Recipe) -> str:
        """Return the diffusers pipeline class that runs a recipe."""
        return self.pipelines[way(recipe)]


def way(recipe: Recipe) -> str:
    """Return the key of `Preset.pipelines` that a recipe asks for, such as "img2img+controlnet"."""
    extra = "+controlnet" if recipe.controlnet else "+mask" if recipe.mask_image is not None else ""
    return recipe.task + extra

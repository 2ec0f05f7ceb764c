"""What a preset has of its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..families.diffusers_classes import call_defaults
from ..families.families import FAMILIES
from ..families.family import Family

TASKS = ("txt2img", "img2img", "edit")
"""What a preset may do: draw from a prompt, redraw a picture to a strength, edit one by an instruction."""


class FamilyTraits:
    """What a name for weights of a family has of that family, limited to the modes that the weights are for."""

    family: str
    modes: tuple[str, ...]

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

    @property
    def follows_pictures(self) -> bool:
        """Whether its own weights take a control picture, without a ControlNet."""
        return not self._family.controlnet

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

    @property
    def guidance_rows(self) -> int:
        """Rows of one model call of a recipe with guidance."""
        return self._family.guidance_rows

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it can do: any of "txt2img", "img2img" and "edit"."""
        return tuple(task for task in TASKS if any(mode.partition("+")[0] == task for mode in self.pipelines))

    @property
    def inpaints(self) -> bool:
        """Whether it redraws the part of a picture that a mask says."""
        return any("+mask" in mode for mode in self.pipelines)

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

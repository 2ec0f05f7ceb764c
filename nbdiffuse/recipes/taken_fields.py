"""Fields that a preset takes, and those that may still be set beside what a recipe says."""

from __future__ import annotations

from ..errors import ParameterError
from ..families.arguments import ARGUMENTS
from ..families.diffusers_classes import call_defaults
from ..families.families import FAMILIES
from ..families.family import ONLY_WITH_PICTURE, PAG
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_settings import FLOW_ONLY, SPACINGS, has_setting
from .defaults import scheduler_of
from .fields import CALLED_AS, OF_PARTS, PARTS, SINGLE, first_name, names_of, numbered
from .preset import Preset
from .presets import PRESETS, preset_of
from .recipe import PARAMS, Recipe
from .reference_rules import check_number_of_references

ALWAYS = frozenset({"prompt", "model", "checkpoint", "image", "seed", "width", "height"})
"""Fields that every preset takes."""
FLOW = {*FLOW_ONLY, *SPACINGS} - {"use_lu_lambdas"}
"""Settings of the scheduler that families of flow matching take."""


_BESIDE = {"+mask": "a mask", "+controlnet": "a ControlNet"}


def refuse_untaken(recipe: Recipe, preset: Preset) -> None:
    """Raise for the first field of a recipe that its preset does not take."""
    if preset.task(recipe) not in preset.tasks:
        does, magic = ("edits", "%%edit") if preset.edits else ("redraws", "%%img2img")
        raise ParameterError(f"`image` must be given: {preset.title} only {does} pictures. Use {magic}.")
    if preset.mode(recipe) in preset.broken:
        raise ParameterError(f"`mask_image` must be left out for {preset.name}: {preset.broken[preset.mode(recipe)]}.")
    if preset.mode(recipe) not in preset.pipelines and f"{preset.mode(recipe)}+mask" in preset.pipelines:
        raise ParameterError(f"`mask_image` must be given: {preset.title} only redraws what a mask says. White is redrawn.")
    if preset.follows_pictures and not recipe.controlnets:
        raise ParameterError(f"`control_image` must be given: {preset.title} only draws what a control picture says.")
    check_number_of_references(recipe, preset)
    _check_pag(recipe, preset)
    taken = _taken(preset)
    for name in recipe.values():
        if first_name(name) not in taken and not _is_taken_by_call(name, recipe, preset):
            raise ParameterError(_not_taken(name, preset))
        if (
            recipe.task == "txt2img"
            and first_name(name) in ONLY_WITH_PICTURE
            and not (name == "resize_mode" and _has_shape(recipe))
        ):
            raise ParameterError(f"`{name}` needs an initial picture. Give `image`, or leave `{name}` out.")
        if first_name(name) in _only_elsewhere(preset, preset.mode(recipe)):
            raise ParameterError(_not_taken(name, preset, preset.mode(recipe)))


def _only_elsewhere(preset: Preset, mode: str) -> frozenset[str]:
    """Return the fields of the core and arguments that other modes of a preset take and this one does not."""
    if mode not in preset.pipelines:
        return frozenset()
    left = ONLY_WITH_PICTURE if mode.startswith("txt2img") else frozenset()
    # Any of these asks for the mode with PAG.
    asks = set(PAG) if f"{mode}+pag" in preset.pipelines else set()
    asks |= {"control_mode"} if f"{mode}-union" in preset.pipelines else set()
    parts = set(OF_PARTS) - (set(names_of("controlnets")) if "+controlnet" in mode else set())
    return frozenset(preset.fields - parts - set(preset.defaults_for(mode)) - left - asks)


def _check_pag(recipe: Recipe, preset: Preset) -> None:
    """Raise where a family has PAG, and no pipeline of diffusers has it beside the rest of a recipe."""
    given = next((name for name in PAG if recipe.get(name) is not None), None)
    if given is None or given not in preset.fields or preset.mode(recipe) in preset.pipelines:
        return
    rest = [said for said, there in (("a mask", recipe.mask), ("a ControlNet", recipe.controlnets)) if there]
    line = f"`{given}` cannot be combined with {' and '.join(rest)} for {preset.name}: diffusers has no pipeline for it"
    raise ParameterError(f"{line}. Leave one out.")


def _not_taken(name: str, preset: Preset, mode: str = "") -> str:
    line = f"`{name}` is not taken by {preset.name} ({preset.title})"
    starts = name in ("strength", "noise")
    if mode and not (starts and mode == "edit"):
        beside = [what for ending, what in _BESIDE.items() if ending in mode]
        way = f"with {' and '.join(beside)}" if beside else "without a mask" if preset.inpaints else f"for {mode}"
        return f"{line} {way}. Leave it out."
    if name in names_of("mask") and not preset.inpaints:
        others = [one.name for one in PRESETS.values() if one.inpaints]
        return f"{line}. Leave it out, or take a model that inpaints: {', '.join(others)}."
    if not starts or not preset.edits:
        return f"{line}. Leave it out."
    if mode and preset.inpaints:
        line += " without a mask"
    if "image_guidance_scale" in preset.fields:
        return f"{line}: it edits and has none. Use `image_guidance_scale`: higher values stay closer to the picture."
    return f"{line}: it edits and has none. Leave it out, and say in the prompt what is to stay."


def _has_shape(recipe: Recipe) -> bool:
    """Tell whether a picture without an initial one gives the size its proportions."""
    return bool(recipe.controlnets) and recipe.get("control_image") is not None


def fields_for(task: str) -> frozenset[str]:
    """Return the fields that some family takes for a task, one of `preset.TASKS`."""
    presets = (Preset(name=key, family=key) for key, family in FAMILIES.items() if task in family.pipelines)
    return frozenset().union(*map(_taken, presets))


def _taken(preset: Preset) -> set[str]:
    of_kind = FLOW if preset.scheduler_kind == "flow" else set(names_of("scheduler_config")) - FLOW_ONLY
    taken = {*ALWAYS, *preset.fields, *names_of("corrections"), "scheduler", *of_kind}
    if preset.varies_noise:
        taken |= set(names_of("variation"))
    if any("controlnet" in mode for mode in preset.pipelines):
        always = ("control_image",) if preset.follows_pictures else ("controlnet", "control_image")
        taken |= {name for name in names_of("controlnets") if name in always or name in preset.fields}
    if preset.references:
        taken |= set(names_of("references"))
    if preset.takes_ip_adapters:
        taken |= set(names_of("ip_adapters"))
    if preset.inpaints:
        # What goes into the call is taken only where the call has it.
        taken |= {name for name in names_of("mask") if name not in CALLED_AS or name in preset.fields}
        taken -= set() if preset.masks_latents else {"mask_differential"}
    return taken


def _is_taken_by_call(name: str, recipe: Recipe, preset: Preset) -> bool:
    """Whether a field is an argument that no table declares, and the pipeline's call has it."""
    known = name in recipe.arguments and name not in ARGUMENTS and preset.mode(recipe) in preset.pipelines
    return known and name in call_defaults(preset.pipeline(recipe))


def settable(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields that may be set beside what a recipe already says, in the order of their declaration.

    Each by itself: a ControlNet and a mask are both there until one of them is chosen.
    After the parts that are there stands the first field of a further one.

    Raises
    ------
    ParameterError
        `model` names no preset.
    """
    preset = preset_of(recipe.model)
    taken = _taken(preset)
    if recipe.task == "txt2img":
        fits = {"resize_mode"} if _has_shape(recipe) else set()
        taken -= ONLY_WITH_PICTURE - fits - ({"image"} if {"img2img", "edit"} & set(preset.tasks) else set())
    elif recipe.mask is not None:
        taken -= set(names_of("variation"))
    together = any("+mask+controlnet" in mode for mode in preset.pipelines)
    if recipe.mask is None:
        taken -= {*names_of("mask")[1:]} - {"extend"}
    else:
        taken -= {"extend" if recipe.mask.extend is None else "mask_image"}
        taken -= set() if together else {*names_of("controlnets")}
    if recipe.controlnets and not together:
        taken -= set(names_of("mask"))
    scheduler = scheduler_of(recipe, preset)
    if scheduler is not None and scheduler_class(scheduler) is not None:
        taken -= {name for name in names_of("scheduler_config") if not has_setting(scheduler, name)}
    mode = preset.mode(recipe)
    taken -= _only_elsewhere(preset, mode)
    taken -= {*PAG} if mode.removesuffix("+pag") + "+pag" not in preset.pipelines else set()
    # Weights that take a control picture themselves take one.
    single = {*SINGLE, "controlnets"} if preset.follows_pictures else SINGLE
    repeated = {names_of(part)[0]: part for part in PARTS.keys() - single}
    found: list[str] = []
    for name in (name for name in PARAMS if name in taken):
        if name in repeated:
            part = repeated[name]
            count = len(getattr(recipe, part))
            found += [one for number in range(1, count + 1) for one in names_of(part, number)]
            found.append(numbered(name, count + 1))
        elif name not in OF_PARTS or OF_PARTS[name].part in single:
            found.append(name)
    return tuple(found)

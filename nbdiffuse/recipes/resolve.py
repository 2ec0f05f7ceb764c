"""Completing a recipe: the preset's defaults, the size, a drawn seed, and whether all of it goes together."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from PIL import Image

from .. import embedded
from ..errors import ParameterError, did_you_mean
from ..families.arguments import ARGUMENTS
from ..families.diffusers_classes import call_defaults
from ..families.families import FAMILIES
from ..families.family import ONLY_WITH_PICTURE
from ..families.parameters import number_text
from ..families.recognition import Recognised, recognise
from ..files.paths import here
from ..images.latents import Latents
from ..images.picture import Picture
from ..prompts import dialects
from . import lora, other_family, prompt_loras
from .chain import Chain
from .controlnets import AUTO, CONTROLNETS, controlnet_of, depth_of
from .defaults import check_scheduler, default_values
from .fields import OF_PARTS, PARTS, SINGLE, names_of, numbered, of_first
from .parts import ControlNet
from .preset import Preset, mode_of
from .presets import PRESETS, preset_of
from .recipe import PARAMS, PROMPTS, Recipe
from .sizes import result_size, told_of_sizes
from .steps import no_steps, real_steps
from .weights_source import source

_NEUTRAL = frozenset({"negative_prompt", "resize_mode", "weighting"})
"""Fields whose defaults change nothing of what a recipe without them ran."""
ALWAYS = frozenset({"prompt", "model", "checkpoint", "image", "seed", "width", "height"})
"""Fields that every preset takes."""
BLANK = Picture.of(Image.new("RGB", (512, 512)))
"""Stands for a picture that is not there yet: what the step before makes."""


def resolve(recipe: Recipe, estimate: bool = True) -> Recipe:
    """Complete a recipe: the preset's defaults, its weights, the size of the result, a drawn seed, an estimated control picture.

    Parameters
    ----------
    recipe
        Any recipe; fields that are set stay as they are, except that a `model` given
        as a hub id or a directory becomes the preset's name and the `checkpoint`, and
        that `<lora:name:0.8>` in a prompt becomes `lora`, see `prompt_loras.find`.
    estimate
        Whether a control picture that is "auto" is estimated, after all else is checked;
        `estimated` does it later.

    Returns
    -------
    The complete recipe: what is run, hashed, shown and stored.

    Raises
    ------
    ParameterError
        The preset does not take a field, a value is not among its choices, a field
        lacks another, a prompt breaks the syntax of its `weighting` or names a network
        that is not here, or the strength leaves no step to run.
    """
    preset = preset_of(recipe.model)
    recipe = prompt_loras.applied(recipe)
    recipe = with_weights(recipe, preset)
    _refuse_what_it_does_not_take(recipe, preset)
    _check_control(recipe, preset)
    if recipe.mask is not None and recipe.mask.image is None:
        raise ParameterError("`mask_image` must be given with `mask_overlay`. Leave `mask_overlay` out where nothing is masked.")
    check_weights(recipe, preset, _recognised(str(recipe.checkpoint), preset))
    values: dict[str, Any] = {name: value for name, value in default_values(recipe, preset).items() if recipe.get(name) is None}
    if recipe.seed is None:
        values["seed"] = secrets.randbelow(2**32)
    values["width"], values["height"] = result_size(recipe, preset, preset.origin_of(str(recipe.checkpoint)))
    complete = recipe.replace(**values)
    check_scheduler(complete, preset)
    if recipe.image is not BLANK:
        complete = told_of_sizes(recipe, complete)
    _check_choices(complete, preset)
    _check_weighting(complete)
    if complete.loras:
        lora.require_library()
    return estimated(complete) if estimate else complete


def estimated(complete: Recipe) -> Recipe:
    """Return a complete recipe with the control pictures that are "auto" estimated from its initial one."""
    image = complete.image.view if isinstance(complete.image, Latents) else complete.image
    images = [numbered("control_image", number) for number in range(1, len(complete.controlnets) + 1)]
    fields = [name for name in images if complete.get(name) == AUTO]
    return complete.replace(**{name: depth_of(image) for name in fields}) if fields else complete


def open_fields(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields without which a recipe does not say what was run; earlier versions left others out, see `_NEUTRAL`.

    A checkpoint that does not come with this package has a scheduler of its own: where none is said, it is that one.

    Raises
    ------
    ParameterError
        `model` names no preset.
    """
    defaults = preset_of(recipe.model).values_for(recipe)
    if recipe.checkpoint not in embedded.names():
        defaults = {**defaults, "scheduler": None}
    needed = ("checkpoint", "seed", "width", "height", *(name for name, value in defaults.items() if value is not None))
    needed = tuple(name for name in needed if name not in _NEUTRAL)
    return tuple(name for name in needed if recipe.get(name) is None)


def minimal(recipe: Recipe) -> Recipe:
    """Return the shortest recipe that completes to the same one: what the preset would fill in anyway is left open.

    Parameters
    ----------
    recipe
        Complete, from `resolve`.
    """
    short = recipe
    for name in reversed(recipe.values()):
        if name in ("prompt", "model", "image", "seed"):
            continue
        trial = short.replace(**{name: None})
        try:
            short = trial if resolve(trial) == recipe else short
        except ParameterError:  # What other fields need stays.
            continue
    return short


def with_weights(recipe: Recipe, preset: Preset) -> Recipe:
    """Name the weights: a `model` given as a hub id or a directory becomes the preset's name and the `checkpoint`."""
    if recipe.model != preset.name:
        if recipe.checkpoint not in (None, recipe.model):
            advice = f"Write `--model {preset.name}`."
            raise ParameterError(f"`model` must be a preset where `checkpoint` is given, got {recipe.model!r}. {advice}")
        return recipe.replace(model=preset.name, checkpoint=recipe.model)
    if recipe.checkpoint:
        return recipe
    origin = preset.origin(source())
    if origin is None:
        raise ParameterError(
            f"`checkpoint` must be given for {preset.title}: a hub id or a directory. There are no weights of it here."
        )
    return recipe.replace(checkpoint=origin.checkpoint)


def check_weights(recipe: Recipe, preset: Preset, recognised: Recognised | None) -> None:
    """Refuse weights of another family than the preset's, or with a UNet that takes other inputs; see `recognition.check`."""
    if recognised is not None:
        other_family.check(recognised, preset.family, preset.name, str(recipe.checkpoint), recipe.mask is not None)


def _recognised(word: str, preset: Preset) -> Recognised | None:
    """Tell what a checkpoint is, where that costs nothing: its own preset's is what it says it is."""
    if word in (preset.embedded_checkpoint, preset.hub_checkpoint):
        return None
    other = next((one for one in PRESETS.values() if word == one.embedded_checkpoint), None)
    found = None if other else recognise(word)
    other = other or next((one for one in PRESETS.values() if found is None and word == one.hub_checkpoint), None)
    return Recognised(FAMILIES[other.family].title, other.family) if other else found


def weights_word(recipe: Recipe) -> str:
    """Return the word by which a complete recipe's weights are found and kept: its checkpoint, with its LoRA."""
    return lora.word(str(recipe.checkpoint), recipe.loras)


def _refuse_what_it_does_not_take(recipe: Recipe, preset: Preset) -> None:
    if recipe.task not in preset.pipelines:
        raise ParameterError(f"`image` must be given: {preset.title} only redraws pictures. Use %%img2img.")
    taken = _taken(preset)
    for name in recipe.values():
        if of_first(name) not in taken and not _is_taken_by_call(name, recipe, preset):
            raise ParameterError(f"`{name}` is not taken by {preset.name} ({preset.title}). Leave it out.")
        if recipe.task == "txt2img" and name in ONLY_WITH_PICTURE and not (name == "resize_mode" and _has_shape(recipe)):
            raise ParameterError(f"`{name}` needs an initial picture. Give `image`, or leave `{name}` out.")


def _has_shape(recipe: Recipe) -> bool:
    """Tell whether a picture without an initial one gives the size its proportions."""
    return bool(recipe.controlnets) and recipe.get("control_image") is not None


def _taken(preset: Preset) -> set[str]:
    taken = {*ALWAYS, *preset.fields, "scheduler"}
    if any("controlnet" in mode for mode in preset.pipelines):
        taken |= set(names_of("controlnets"))
    if "img2img+mask" in preset.pipelines:
        taken |= set(names_of("mask"))
    return taken


def _is_taken_by_call(name: str, recipe: Recipe, preset: Preset) -> bool:
    """Whether a field is an argument that no table declares, and the pipeline's call has it."""
    known = name in recipe.arguments and name not in ARGUMENTS and mode_of(recipe) in preset.pipelines
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
        taken -= ONLY_WITH_PICTURE - fits - ({"image"} if "img2img" in preset.tasks else set())
    if recipe.mask is None:
        taken -= set(names_of("mask")[1:])
    else:
        taken -= set(names_of("controlnets"))
    if recipe.controlnets:
        taken -= set(names_of("mask"))
    repeated = {names_of(part)[0]: part for part in PARTS.keys() - SINGLE}
    found: list[str] = []
    for name in (name for name in PARAMS if name in taken):
        if name in repeated:
            part = repeated[name]
            count = len(getattr(recipe, part))
            found += [one for number in range(1, count + 1) for one in names_of(part, number)]
            found.append(numbered(name, count + 1))
        elif name not in OF_PARTS or OF_PARTS[name].part in SINGLE:
            found.append(name)
    return tuple(found)


def _check_control(recipe: Recipe, preset: Preset) -> None:
    for number, net in enumerate(recipe.controlnets, start=1):
        _check_one_control(recipe, net, number, preset)
    if recipe.controlnets and recipe.mask is not None:
        raise ParameterError("`mask_image` and `controlnet` cannot be combined here. Leave one out.")


def _check_one_control(recipe: Recipe, net: ControlNet, number: int, preset: Preset) -> None:
    checkpoint, image = (numbered(name, number) for name in ("controlnet", "control_image"))
    if net.checkpoint is None:
        given = next(name for name in names_of("controlnets", number) if name != checkpoint and recipe.get(name) is not None)
        names = ", ".join(preset.controlnets)
        raise ParameterError(f"`{checkpoint}` must be given with `{given}`. {preset.name} has: {names}.")
    if net.checkpoint not in preset.controlnets and not _may_be_a_checkpoint(net.checkpoint):
        advice = did_you_mean(net.checkpoint, preset.controlnets)
        known = net.checkpoint in CONTROLNETS
        reason = f"one made for {preset.name}" if known else "the name of a ControlNet, a hub id or a directory"
        raise ParameterError(f"`{checkpoint}` must be {reason}, got {net.checkpoint!r}. {advice}")
    if net.image is None:
        way_out = "Give a picture, or `auto` to make one." if controlnet_of(net.checkpoint).estimator else "Give a picture."
        raise ParameterError(f"`{image}` must be given with `{checkpoint}`. {way_out}")
    if net.image == AUTO:
        _check_estimation(recipe, net.checkpoint, image)


def _check_estimation(recipe: Recipe, net: str, field: str) -> None:
    if recipe.image is None:
        raise ParameterError(f"`{field}` must be a picture where there is no initial one, got {AUTO!r}.")
    if not controlnet_of(net).estimator:
        raise ParameterError(f"`{field}` must be a picture for {net}: `{AUTO}` makes depth maps, for `depth`.")


def _may_be_a_checkpoint(word: str) -> bool:
    """Tell a hub id or a directory from a name that is misspelt; whether it is there is found out when it is loaded."""
    return "/" in word or here(word) is not None


def _check_choices(complete: Recipe, preset: Preset) -> None:
    for number, net in enumerate(complete.controlnets, start=1):
        if net.start is not None and net.end is not None and net.start >= net.end:
            start, end = (numbered(name, number) for name in ("control_guidance_start", "control_guidance_end"))
            raise ParameterError(f"`{start}` must be below `{end}`, got {number_text(net.start)} and {number_text(net.end)}.")
    if real_steps(complete) == 0:
        raise ParameterError(no_steps(complete))


def _check_weighting(complete: Recipe) -> None:
    if complete.weighting in (None, dialects.NONE):
        return
    for name in PROMPTS:
        dialects.read(str(complete.weighting), complete.get(name) or "", name)
    dialects.require_library()


def resolve_chain(chain: Chain) -> Chain:
    """Complete every step of a chain as far as it can be before its picture is there: an open seed is drawn once for all.

    Raises
    ------
    ParameterError
        A step breaks a rule; the line names it.
    """
    seed = next((step.seed for step in chain if step.seed is not None), None)
    seed = secrets.randbelow(2**32) if seed is None else seed
    steps = []
    for number, step in enumerate(chain, start=1):
        step = step if step.seed is not None else step.replace(seed=seed)
        # A later step's picture is not there yet.
        trial = step if number == 1 else step.replace(image=BLANK)
        try:
            # The depth of a later step's picture can be estimated once that is there.
            complete = resolve(trial, estimate=number == 1)
        except ParameterError as error:
            raise ParameterError(f"Step {number}: {error}") from None
        steps.append(complete if number == 1 else complete.replace(image=None, width=step.width, height=step.height))
    return Chain(tuple(steps))


def call_fields(recipe: Recipe, accepted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return which arguments a complete recipe gives to its pipeline's call, each with the fields that hold its values.

    Parameters
    ----------
    recipe
        Complete.
    accepted
        Names that the call has.

    Returns
    -------
    dict of str to tuple of str
        One field for most; several, one for each part, where the call gets a list.
    """
    accepted = frozenset(accepted)
    fields: dict[str, tuple[str, ...]] = {}
    for field in recipe.values():
        name = of_first(field)
        # Text-to-image with a ControlNet takes the control picture as `image`.
        name = "image" if PARAMS[field].kind is Picture and name not in accepted else name
        if name in accepted and name not in ("width", "height"):
            fields[name] = (*fields.get(name, ()), field)
    # Image-to-image takes the size from its picture; inpainting would draw a square whatever it is given.
    sized_by_picture = recipe.image is not None and recipe.mask is None
    sizes = preset_of(recipe.model).size_arguments if sized_by_picture else {"width": "width", "height": "height"}
    return fields | {name: (field,) for name, field in sizes.items()}

"""Completing a recipe: the preset's defaults, the size, a drawn seed, and whether all of it goes together."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ParameterError, did_you_mean
from ..images.picture import Picture
from ..prompts import dialects
from . import lora
from .chain import Chain
from .controlnets import CONTROL_FIELDS, CONTROLNETS, SECOND
from .origins import source
from .parameters import number_text
from .preset import Preset
from .presets import preset_of
from .recipe import PARAMS, PROMPTS, Recipe
from .sizes import result_size
from .strengths import no_steps, real_steps

ALWAYS = frozenset({"prompt", "model", "checkpoint", "image", "seed", "width", "height"})
"""Fields that every preset takes."""
BLANK = Picture.of(Image.new("RGB", (512, 512)))
"""Stands for a picture that is not there yet: what the step before makes."""


def resolve(recipe: Recipe) -> Recipe:
    """Complete a recipe: the preset's defaults, its weights, the size of the result, a drawn seed.

    Parameters
    ----------
    recipe
        Any recipe; fields that are set stay as they are, except that a `model` given
        as a hub id or a directory becomes the preset's name and the `checkpoint`.

    Returns
    -------
    The complete recipe: what is run, hashed, shown and stored.

    Raises
    ------
    ParameterError
        The preset does not take a field, a value is not among its choices, a field
        lacks another, a prompt breaks the syntax of its `weighting`, or the strength
        leaves no step to run.
    """
    preset = preset_of(recipe.model)
    recipe = with_weights(recipe, preset)
    _refuse_what_it_does_not_take(recipe, preset)
    _check_control(recipe, preset)
    values: dict[str, Any] = {name: value for name, value in preset.values_for(recipe).items() if getattr(recipe, name) is None}
    if recipe.seed is None:
        values["seed"] = secrets.randbelow(2**32)
    values["width"], values["height"] = result_size(recipe, preset, preset.origin_of(str(recipe.checkpoint)))
    complete = recipe.replace(**values)
    _check_choices(complete, preset)
    _check_weighting(complete)
    if complete.lora is not None:
        lora.read(complete.lora)
        lora.require_library()
    return complete


def reduced(recipe: Recipe) -> Recipe:
    """Return the shortest recipe that completes to the same one: what the preset would fill in anyway is left open.

    Parameters
    ----------
    recipe
        Complete, from `resolve`.
    """
    short = recipe
    for name in PARAMS:
        if name in ("prompt", "model", "image", "seed") or getattr(short, name) is None:
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
    return recipe if recipe.checkpoint else recipe.replace(checkpoint=preset.origin(source()).checkpoint)


def weights_word(recipe: Recipe) -> str:
    """Return the word by which a complete recipe's weights are found and kept: its checkpoint, with its LoRA."""
    return lora.word(str(recipe.checkpoint), recipe.lora)


def _refuse_what_it_does_not_take(recipe: Recipe, preset: Preset) -> None:
    if recipe.task not in preset.pipelines:
        raise ParameterError(f"`image` must be given: {preset.title} only redraws pictures. Use %%img2img.")
    taken = _taken(preset)
    for name in PARAMS:
        if getattr(recipe, name) is None:
            continue
        if name not in taken:
            raise ParameterError(f"`{name}` is not taken by {preset.name} ({preset.title}). Leave it out.")
        if recipe.task == "txt2img" and name in preset.only_img2img:
            raise ParameterError(f"`{name}` needs an initial picture. Give `image`, or leave `{name}` out.")


def _taken(preset: Preset) -> set[str]:
    taken = {*ALWAYS, *preset.defaults}
    if preset.controlnets:
        taken |= {*CONTROL_FIELDS, *SECOND.values()}
    if "img2img+mask" in preset.pipelines:
        taken |= {"mask_image"}
    return taken


def settable(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields that may be set beside what a recipe already says, in the order of their declaration.

    Each by itself: a ControlNet and a mask are both there until one of them is chosen,
    and what only a ControlNet takes, a second one among it, is there once it is.

    Raises
    ------
    ParameterError
        `model` names no preset.
    """
    preset = preset_of(recipe.model)
    control, second = {*CONTROL_FIELDS, *SECOND.values()}, set(SECOND.values())
    taken = _taken(preset) - (control if recipe.mask_image is not None else set())
    if recipe.task == "txt2img":
        taken -= preset.only_img2img - ({"image"} if "img2img" in preset.tasks else set())
    if recipe.controlnet is None:
        taken -= control - {"controlnet"}
    else:
        taken -= {"mask_image"} if recipe.controlnet_2 else {"mask_image", *second} - {"controlnet_2"}
    return tuple(name for name in PARAMS if name in taken)


def _check_control(recipe: Recipe, preset: Preset) -> None:
    _check_one_control(recipe, preset, {name: name for name in CONTROL_FIELDS})
    _check_one_control(recipe, preset, SECOND)
    if recipe.controlnet_2 and recipe.controlnet is None:
        raise ParameterError("`controlnet` must be given with `controlnet_2`. Leave the `_2` out where there is only one.")
    if recipe.controlnet and recipe.mask_image is not None:
        raise ParameterError("`mask_image` and `controlnet` cannot be combined here. Leave one out.")


def _check_one_control(recipe: Recipe, preset: Preset, fields: Mapping[str, str]) -> None:
    """Check what is said about the first ControlNet or the second; `fields` are its fields."""
    field = fields["controlnet"]
    net = getattr(recipe, field)
    if net is None:
        given = next((name for name in PARAMS if name in fields.values() and getattr(recipe, name) is not None), None)
        if given:
            names = ", ".join(preset.controlnets)
            raise ParameterError(f"`{field}` must be given with `{given}`. {preset.name} has: {names}.")
        return
    if net not in preset.controlnets and not _may_be_a_checkpoint(net):
        advice = did_you_mean(net, preset.controlnets)
        reason = f"one made for {preset.name}" if net in CONTROLNETS else "the name of a ControlNet, a hub id or a directory"
        raise ParameterError(f"`{field}` must be {reason}, got {net!r}. {advice}")
    if getattr(recipe, fields["control_image"]) is None:
        raise ParameterError(f"`{fields['control_image']}` must be given with `{field}`. Give a picture, or `auto` to make one.")


def _may_be_a_checkpoint(word: str) -> bool:
    """Tell a hub id or a directory from a name that is misspelt; whether it is there is found out when it is loaded."""
    return "/" in word or Path(word).expanduser().is_dir()


def _check_choices(complete: Recipe, preset: Preset) -> None:
    if complete.scheduler not in preset.schedulers:
        advice = did_you_mean(str(complete.scheduler), preset.schedulers)
        raise ParameterError(f"`scheduler` must be one that {preset.name} takes, got {complete.scheduler!r}. {advice}")
    for which in ("", "_2"):
        begin, finish = f"control_guidance_start{which}", f"control_guidance_end{which}"
        start, end = getattr(complete, begin), getattr(complete, finish)
        if start is not None and end is not None and start >= end:
            raise ParameterError(f"`{begin}` must be below `{finish}`, got {number_text(start)} and {number_text(end)}.")
    if real_steps(complete) == 0:
        raise ParameterError(no_steps(complete))


def _check_weighting(complete: Recipe) -> None:
    if complete.weighting in (None, dialects.NONE):
        return
    for name in PROMPTS:
        dialects.read(str(complete.weighting), getattr(complete, name) or "", name)
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
            complete = resolve(trial)
        except ParameterError as error:
            raise ParameterError(f"Step {number}: {error}") from None
        steps.append(complete if number == 1 else complete.replace(image=None, width=step.width, height=step.height))
    return Chain(tuple(steps))


def call_fields(recipe: Recipe, accepted: Iterable[str]) -> dict[str, str]:
    """Return which arguments a complete recipe gives to its pipeline's call, each with the field that holds its value.

    Parameters
    ----------
    recipe
        Complete.
    accepted
        Names that the call has.
    """
    accepted = frozenset(accepted)
    fields = {name: name for name in PARAMS if name in accepted and getattr(recipe, name) is not None}
    # Image-to-image takes the size from its picture; inpainting would draw a square whatever it is given.
    sized_by_picture = recipe.image is not None and recipe.mask_image is None
    sizes = preset_of(recipe.model).size_arguments if sized_by_picture else {"width": "width", "height": "height"}
    fields = {name: field for name, field in fields.items() if name not in ("width", "height")} | dict(sizes)
    # Text-to-image with a ControlNet takes the control picture as `image`; a second one goes with the first.
    return fields | {name if name in accepted else "image": name for name in recipe.pictures if name != SECOND["control_image"]}


def second_fields(recipe: Recipe) -> Mapping[str, str]:
    """Return for which fields a complete recipe gives two values, and where the second is; empty without a second ControlNet."""
    return SECOND if recipe.controlnet_2 else {}

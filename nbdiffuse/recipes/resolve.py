"""Completing a recipe: the preset's defaults, the size, a drawn seed, and whether all of it goes together."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from PIL import Image

from .. import embedded
from ..errors import ParameterError
from ..families.families import FAMILIES
from ..families.parameters import number_text
from ..families.recognition import Recognised, recognise
from ..images.latents import Latents
from ..images.picture import Picture
from ..prompts import dialects
from . import comparison, lora, other_family, prompt_embeddings, prompt_loras
from .chain import Chain
from .controlnet_rules import check_controlnets
from .controlnets import is_auto, preprocessed, preprocessor_of
from .defaults import default_values
from .fields import CALLED_AS, first_name, names_of, numbered
from .ip_adapter_rules import check_ip_adapters, with_scales
from .mask_rules import (
    check_channels,
    check_fitted_mask,
    check_mask,
    told_of_mask,
    with_canvas,
    with_found_mask,
    with_selected_mask,
)
from .noise_start import check_noise
from .preset import Preset
from .presets import PRESETS, preset_of
from .recipe import PARAMS, PROMPTS, Recipe
from .reference_rules import check_shapes
from .schedule_rules import check_schedule, refuse_uncalled, with_listed_steps
from .scheduler_rules import check_scheduler, with_class
from .sizes import result_size, with_size_notices
from .steps import no_steps, no_window, real_steps
from .taken_fields import refuse_untaken
from .weights_source import source

_NEUTRAL = frozenset({"negative_prompt", "resize_mode", "weighting", "max_sequence_length"})
"""Fields whose defaults change nothing of what a recipe without them ran."""
BLANK = Picture.of(Image.new("RGB", (512, 512)))
"""Stands for a picture that is not there yet: what the step before makes."""


def resolve(recipe: Recipe, estimate: bool = True) -> Recipe:
    """Complete a recipe: the preset's defaults, its weights, the size of the result, a drawn seed, an estimated control picture.

    Parameters
    ----------
    recipe
        Any recipe; fields that are set stay as they are, except that a `model` given
        as a hub id or a directory becomes the preset's name and the `checkpoint`, and
        that `<lora:name:0.8>` in a prompt becomes `lora`, see `prompt_loras.find`, a textual
        inversion that a prompt names becomes its word, see `prompt_embeddings`, another tool's
        name for a sampler becomes a class and its settings, and a mask that selects a part
        of the initial picture becomes its own pixels.
    estimate
        Whether models make what is left to them, after all else is checked: a control picture
        that is "auto", and a mask such as "text:sky"; `estimated` does it later.

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
    recipe = with_class(prompt_embeddings.applied(prompt_loras.applied(recipe)))
    recipe = with_weights(recipe, preset)
    refuse_uncalled(recipe, preset)
    refuse_untaken(recipe, preset)
    recipe = with_listed_steps(recipe)
    check_controlnets(recipe, preset)
    check_ip_adapters(recipe)
    check_mask(recipe)
    recipe = with_selected_mask(recipe, None if recipe.image is BLANK else recipe.image)
    check_weights(recipe, preset, _recognised(str(recipe.checkpoint), preset))
    values: dict[str, Any] = {name: value for name, value in default_values(recipe, preset).items() if recipe.get(name) is None}
    if recipe.seed is None:
        values["seed"] = secrets.randbelow(2**32)
    values["width"], values["height"] = result_size(recipe, preset, preset.origin_of(str(recipe.checkpoint)))
    complete = with_scales(recipe.replace(**values))
    check_scheduler(complete, preset)
    check_schedule(complete)
    check_noise(complete)
    if recipe.image is not BLANK:
        told = with_size_notices(recipe, complete)
        complete = told_of_mask(with_canvas(told, preset.origin_of(str(recipe.checkpoint)).size_multiple))
    check_fitted_mask(complete)
    check_shapes(complete, preset)
    _check_choices(complete, preset)
    _check_weighting(complete)
    comparison.require_libraries(complete)
    if complete.loras:
        lora.require_library()
    return estimated(complete) if estimate else complete


def estimated(complete: Recipe) -> Recipe:
    """Return a complete recipe with what models make of its initial picture: its mask, and control pictures."""
    complete = with_found_mask(complete)
    image = complete.image.view if isinstance(complete.image, Latents) else complete.image
    nets = [(number, net) for number, net in enumerate(complete.controlnets, start=1) if is_auto(net.image)]
    made = {numbered("control_image", n): preprocessed(image, preprocessor_of(net.image, str(net.checkpoint))) for n, net in nets}
    return complete.replace(**made) if made else complete


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
        known = [f"`--model {one.name}`" for one in PRESETS.values() if one.family == preset.family]
        named = f" Or write {', '.join(known)}, which the hub has." if known else ""
        raise ParameterError(
            f"`checkpoint` must be given for {preset.title}: a hub id or a directory. There are no weights of it here.{named}"
        )
    return recipe.replace(checkpoint=origin.checkpoint)


def check_weights(recipe: Recipe, preset: Preset, recognised: Recognised | None) -> None:
    """Refuse weights of another family than the preset's, or with a UNet that takes other inputs; see `recognition.check`."""
    if recognised is not None:
        other_family.check(recognised, preset.family, preset.name, str(recipe.checkpoint), recipe.mask is not None)
        check_channels(recipe, recognised.in_channels)


def _recognised(word: str, preset: Preset) -> Recognised | None:
    """Tell what a checkpoint is, where that costs nothing: its own preset's is what it says it is."""
    if word in (preset.embedded_checkpoint, preset.hub_checkpoint):
        return None
    other = next((one for one in PRESETS.values() if word == one.embedded_checkpoint), None)
    found = None if other else recognise(word)
    other = other or next((one for one in PRESETS.values() if found is None and word == one.hub_checkpoint), None)
    return Recognised(FAMILIES[other.family].title, other.family) if other else found


def checkpoint_text(recipe: Recipe) -> str:
    """Return the word by which a complete recipe's weights are found and kept: its checkpoint, with the LoRA in its weights."""
    return lora.joined_text(str(recipe.checkpoint), [one for one in recipe.loras if one.fused is not False])


def _check_choices(complete: Recipe, preset: Preset) -> None:
    for number, net in enumerate(complete.controlnets, start=1):
        if net.start is not None and net.end is not None and net.start >= net.end:
            start, end = (numbered(name, number) for name in ("control_guidance_start", "control_guidance_end"))
            raise ParameterError(f"`{start}` must be below `{end}`, got {number_text(net.start)} and {number_text(net.end)}.")
    for name, limit in preset.limits.items():
        if (value := complete.get(name)) is not None and value > limit:
            raise ParameterError(f"`{name}` must be at most {number_text(limit)} for {preset.name}, got {number_text(value)}.")
    if real_steps(complete) == 0:
        raise ParameterError(no_steps(complete) if complete.get("denoising_end") is None else no_window(complete))


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
            # The control picture of a later step's picture can be made once that is there.
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
        name = CALLED_AS.get(first_name(field), first_name(field))
        # Text-to-image with a ControlNet takes the control picture as `image`.
        is_picture = PARAMS[field].kind is Picture and first_name(field) not in names_of("ip_adapters")
        name = "image" if is_picture and name not in accepted else name
        if name in accepted and name not in ("width", "height"):
            fields[name] = (*fields.get(name, ()), field)
    if recipe.noise is not None and "strength" in accepted:
        fields["strength"] = ("noise",)
    # Image-to-image takes the size from its picture; inpainting would draw a square whatever it is given.
    sized_by_picture = recipe.image is not None and recipe.mask is None
    sizes = preset_of(recipe.model).size_arguments if sized_by_picture else {"width": "width", "height": "height"}
    return fields | {name: (field,) for name, field in sizes.items()}

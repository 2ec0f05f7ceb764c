"""Completing a recipe: the preset's defaults, sizes, a drawn seed, and the steps that it really runs."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from . import dialects, lora
from .chain import Chain
from .controlnets import CONTROL_FIELDS, CONTROLNETS, SECOND
from .errors import ParameterError, did_you_mean
from .fitting import fit, fitted_size
from .images import Picture
from .latents import Latents
from .origins import Origin, source
from .preset import Preset, way
from .presets import preset_of
from .recipe import PARAMS, PROMPTS, Recipe
from .strengths import run_steps

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
    values["width"], values["height"] = _size(recipe, preset, preset.origin_of(str(recipe.checkpoint)))
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
            raise ParameterError(f"`{begin}` must be below `{finish}`, got {start:g} and {end:g}.")
    if real_steps(complete) == 0:
        raise ParameterError(_no_steps(complete))


def _check_weighting(complete: Recipe) -> None:
    if complete.weighting in (None, dialects.NONE):
        return
    for name in PROMPTS:
        dialects.read(str(complete.weighting), getattr(complete, name) or "", name)
    dialects.require_library()


def _size(recipe: Recipe, preset: Preset, origin: Origin) -> tuple[int, int]:
    """Return the size of the result; an upscaler's initial picture is that size over its scale."""
    scale, multiple = preset.scale, origin.size_multiple
    if isinstance(recipe.image, Latents):
        return _size_of_latents(recipe, preset, recipe.image)
    if recipe.image is None:
        width, height = recipe.width or origin.native_size, recipe.height or origin.native_size
        return fitted_size((width, height), width=width, height=height, multiple=multiple)
    for name in ("width", "height"):
        side = getattr(recipe, name)
        if side is not None and side % (scale * multiple):
            nearest = max(1, round(side / (scale * multiple))) * scale * multiple
            raise ParameterError(
                f"`{name}` must be a multiple of {scale * multiple} for {preset.name}, got {side}. The nearest is {nearest}."
            )
    width, height = fitted_size(
        recipe.image.size,
        width=recipe.width and recipe.width // scale,
        height=recipe.height and recipe.height // scale,
        multiple=multiple,
        limit=origin.native_size,
    )
    return width * scale, height * scale


def _size_of_latents(recipe: Recipe, preset: Preset, latents: Latents) -> tuple[int, int]:
    if not preset.takes_latents or way(recipe) != "img2img":
        what = preset.name if way(recipe) == "img2img" else f"{preset.name} with a mask or a ControlNet"
        raise ParameterError(f"`image` must be a picture for {what}, got latents. Give the decoded picture: `result.image`.")
    width, height = (side * preset.scale for side in latents.size)
    for name, side, own in (("width", recipe.width, width), ("height", recipe.height, height)):
        if side not in (None, own):
            raise ParameterError(
                f"`{name}` must be {own}, the size of the latents, got {side}. Leave it out, or give the picture."
            )
    return width, height


def initial_size(recipe: Recipe) -> tuple[int, int]:
    """Return the size that a complete recipe's initial, mask and control pictures are brought to, in pixels."""
    scale = preset_of(recipe.model).scale
    return (recipe.width or 0) // scale, (recipe.height or 0) // scale


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


def fitted_pictures(recipe: Recipe) -> dict[str, Image.Image]:
    """Return a complete recipe's pictures as the pipeline gets them, by field: RGB (the mask: L), all of one size."""
    size, mode = initial_size(recipe), recipe.resize_mode or "fit"
    fitted = {name: fit(picture.image, size, mode) for name, picture in recipe.pictures.items()}
    return {name: picture.convert("L") if name == "mask_image" else picture for name, picture in fitted.items()}


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


def notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know before a complete recipe runs, one line each."""
    preset = preset_of(recipe.model)
    lines = [steps_line(recipe)]
    if preset.trigger and preset.trigger.lower() not in recipe.prompt.lower():
        lines.append(f'{preset.name} draws its style where the prompt says "{preset.trigger}", and this one does not.')
    if recipe.weighting is not None:
        hints = (dialects.hint(recipe.weighting, getattr(recipe, name) or "") for name in PROMPTS)
        lines += dict.fromkeys(line for line in hints if line)
    return tuple(lines)


def weights_label(recipe: Recipe) -> str:
    """Name the weights of a complete recipe for people, such as "sd15 (embedded)" or a hub id."""
    checkpoint = _checkpoint_label(recipe)
    return lora.word(checkpoint, lora.without_paths(recipe.lora)) if recipe.lora else checkpoint


def _checkpoint_label(recipe: Recipe) -> str:
    checkpoint = str(recipe.checkpoint)
    if checkpoint == preset_of(recipe.model).tiny.checkpoint:
        return f"{recipe.model} (embedded)"
    return Path(checkpoint).name if Path(checkpoint).expanduser().is_dir() else checkpoint


def weights_word(recipe: Recipe) -> str:
    """Return the word by which a complete recipe's weights are found and kept: its checkpoint, with its LoRA."""
    return lora.word(str(recipe.checkpoint), recipe.lora)


def real_steps(recipe: Recipe) -> int:
    """Return how many of its `num_inference_steps` a complete recipe really runs.

    Image-to-image starts part of the way down the schedule and runs
    `min(int(num_inference_steps * strength), num_inference_steps)` steps.

    Source: diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`; the product is
    taken in the same floating point, so 50 * 0.58 gives 28 here as there.
    """
    steps = recipe.num_inference_steps or 0
    return steps if recipe.strength is None else run_steps(steps, recipe.strength)


def steps_line(recipe: Recipe) -> str:
    """Say in one line what will really run, such as "strength 0.62 × 20 → 12 steps"."""
    count = real_steps(recipe)
    steps = f"{count} step" if count == 1 else f"{count} steps"
    return steps if recipe.strength is None else f"strength {recipe.strength:g} × {recipe.num_inference_steps} → {steps}"


def _no_steps(recipe: Recipe) -> str:
    steps, strength = recipe.num_inference_steps or 1, recipe.strength or 0.0
    ways = [f"raise `strength` to at least {-(-100 // steps) / 100:g}"]
    if strength * 1000 >= 1:
        ways.append(f"raise `num_inference_steps` to at least {next(n for n in range(1, 1001) if int(n * strength) >= 1)}")
    else:
        ways.append("show the picture as it is, without a run")
    return f"`strength` must leave at least one step, got {strength:g} × {steps} = 0 steps. Either {ways[0]}, or {ways[1]}."


__all__ = [
    "initial_size",
    "notices",
    "real_steps",
    "reduced",
    "resolve",
    "second_fields",
    "settable",
    "steps_line",
    "weights_label",
    "weights_word",
]

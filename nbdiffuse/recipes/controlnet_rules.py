"""Rules that the ControlNets of a recipe must keep."""

from __future__ import annotations

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..files.paths import here
from ..images import edges
from .controlnets import AUTO, CONTROLNETS, ELSEWHERE, PREPROCESSORS, controlnet_of, is_auto, preprocessor_of
from .fields import names_of, numbered
from .parts import ControlNet
from .preset import Preset
from .recipe import Recipe


def check_controlnets(recipe: Recipe, preset: Preset) -> None:
    """Raise for the first ControlNet of a recipe that cannot run: its name, its picture, or what it is combined with."""
    for number, net in enumerate(recipe.controlnets, start=1):
        _check_one_control(recipe, net, number, preset)
    if len(recipe.controlnets) > preset.most_controlnets:
        count, most = len(recipe.controlnets), f"{preset.most_controlnets:g}"
        raise ParameterError(f"`controlnets` must be at most {most} for {preset.name}, got {count}. Leave some out.")
    modes = [net.mode for net in recipe.controlnets]
    if None in modes and any(mode is not None for mode in modes):
        name = numbered("control_mode", modes.index(None) + 1)
        raise ParameterError(f"`{name}` must be given, as it is for another ControlNet. Give it for each, or for none.")
    if recipe.controlnets and preset.mode(recipe) not in preset.pipelines:
        beside = "mask_image" if recipe.mask is not None else "image"
        raise ParameterError(f"`{beside}` and `controlnet` cannot be combined for {preset.name}. Leave one out.")


def _check_one_control(recipe: Recipe, net: ControlNet, number: int, preset: Preset) -> None:
    checkpoint, image = (numbered(name, number) for name in ("controlnet", "control_image"))
    if net.checkpoint is None and not preset.follows_pictures:
        given = next(name for name in names_of("controlnets", number) if name != checkpoint and recipe.get(name) is not None)
        raise ParameterError(f"`{checkpoint}` must be given with `{given}`. {_offered(preset)}")
    if net.checkpoint is not None and net.checkpoint not in preset.controlnets and not _may_be_a_checkpoint(net.checkpoint):
        advice = did_you_mean(net.checkpoint, preset.controlnets) if preset.controlnets else _offered(preset)
        known = net.checkpoint in CONTROLNETS
        reason = f"made for {preset.name}" if known else "the name of a ControlNet, a hub id or a directory"
        raise ParameterError(f"`{checkpoint}` must be {reason}, got {net.checkpoint!r}. {advice}")
    if net.image is None:
        made = net.checkpoint is not None and controlnet_of(net.checkpoint).preprocessor
        way_out = "Give a picture, or `auto` to make one." if made else "Give a picture."
        raise ParameterError(f"`{image}` must be given with `{checkpoint}`. {way_out}")
    if is_auto(net.image):
        _check_auto(recipe, net.checkpoint or preset.title, image, net.image)


def _offered(preset: Preset) -> str:
    if preset.controlnets:
        return f"{preset.name} has: {', '.join(preset.controlnets)}."
    return f"Give the hub id or directory of one made for {preset.name}."


def _check_auto(recipe: Recipe, net: str, field: str, word: str) -> None:
    if recipe.image is None:
        raise ParameterError(f"`{field}` must be a picture where there is no initial one, got {word!r}.")
    name = preprocessor_of(word, net)
    if not name:
        line = f"`{field}` must be a picture for {net}, or say what makes one"
        raise ParameterError(f"{line}: {', '.join(f'`{AUTO}:{one}`' for one in PREPROCESSORS)}.")
    if name.lower() in ELSEWHERE:
        made = f"Make it with {ELSEWHERE[name.lower()]} of controlnet-aux"
        raise ParameterError(f"`{field}` must be a picture for {name}, whose model is not in this package. {made}, and give it.")
    if name not in PREPROCESSORS:
        rule = f"a picture, or `{AUTO}:` with one of {', '.join(PREPROCESSORS)}"
        raise ParameterError(breaks_rule(field, rule, word, did_you_mean(name, PREPROCESSORS)))
    if name in ("canny", "lineart", "scribble"):
        edges.require_library(name)


def _may_be_a_checkpoint(word: str) -> bool:
    """Tell a hub id or a directory from a name that is misspelt; whether it is there is found out when it is loaded."""
    return "/" in word or here(word) is not None

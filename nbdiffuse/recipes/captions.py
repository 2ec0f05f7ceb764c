"""Captions: what is said of a complete recipe in a line."""

from __future__ import annotations

from ..prompts import dialects
from . import lora
from .portable import portable_loras, portable_word
from .presets import preset_of
from .recipe import PROMPTS, Recipe
from .strengths import steps_line


def notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know before a complete recipe runs, one line each."""
    preset = preset_of(recipe.model)
    lines = [steps_line(recipe)]
    if preset.trigger and preset.trigger.lower() not in recipe.prompt.lower():
        lines.append(f'{preset.name} draws its style where the prompt says "{preset.trigger}", and this one does not.')
    if recipe.weighting is not None:
        hints = (line for name in PROMPTS for line in dialects.hints(recipe.weighting, recipe.get(name) or ""))
        lines += dict.fromkeys(hints)
    return tuple(lines)


def weights_label(recipe: Recipe) -> str:
    """Name the weights of a complete recipe for people, such as "sd15 (embedded)" or a hub id."""
    checkpoint = _checkpoint_label(recipe)
    return lora.word(checkpoint, portable_loras(recipe.loras))


def _checkpoint_label(recipe: Recipe) -> str:
    checkpoint = str(recipe.checkpoint)
    if checkpoint == preset_of(recipe.model).embedded:
        return f"{recipe.model} (embedded)"
    return portable_word(checkpoint)

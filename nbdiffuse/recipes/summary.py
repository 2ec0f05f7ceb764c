"""Summary: lines that describe a complete recipe before it runs."""

from __future__ import annotations

from . import lora
from .notices import before_run
from .portable import portable_loras, portable_word
from .presets import preset_of
from .recipe import Recipe
from .steps import steps_line


def notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know before a complete recipe runs, one line each."""
    return (steps_line(recipe), *before_run(recipe))


def safety_line(recipe: Recipe) -> str:
    """Say that the safety checker made a complete recipe's picture black, and the ways out."""
    way_out = 'Write `--safety-checker none` (in Python `safety_checker="none"`) to run without it, or try another seed.'
    return f"The safety checker of {weights_label(recipe)} flagged the picture and made it black, so it is not kept. {way_out}"


def weights_label(recipe: Recipe) -> str:
    """Name the weights of a complete recipe for people, such as "sd15 (embedded)" or a hub id."""
    checkpoint = _checkpoint_label(recipe)
    return lora.joined_text(checkpoint, portable_loras(recipe.loras))


def _checkpoint_label(recipe: Recipe) -> str:
    checkpoint = str(recipe.checkpoint)
    if checkpoint == preset_of(recipe.model).embedded_checkpoint:
        return f"{recipe.model} (embedded)"
    return portable_word(checkpoint)

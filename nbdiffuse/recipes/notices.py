"""Notices of a recipe: what a person should know of its prompts and pictures, known before it runs."""

from __future__ import annotations

from ..prompts import dialects
from ..prompts.unknown_words import unknown_words
from .presets import PRESETS, preset_of
from .recipe import PROMPTS, Recipe


def before_run(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know of a complete recipe's prompts and pictures, one line each.

    The lines are those that its results carry, so every surface can show them.
    """
    return (*_trigger(recipe), *_weighting(recipe), *_unknown(recipe), *_unseen(recipe), *picture_notices(recipe))


def picture_notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what was done to the pictures of a complete recipe that went in, each line with its field."""
    return tuple(f"`{field}`: {line}" for field, picture in recipe.pictures.items() for line in picture.notices)


def _trigger(recipe: Recipe) -> list[str]:
    preset = preset_of(recipe.model)
    if not preset.trigger or preset.trigger.lower() in recipe.prompt.lower():
        return []
    return [f'{preset.name} draws its style where the prompt says "{preset.trigger}", and this one does not.']


def _weighting(recipe: Recipe) -> list[str]:
    if recipe.weighting is None:
        return []
    hints = (line for name in PROMPTS for line in dialects.hints(recipe.weighting, recipe.get(name) or ""))
    return list(dict.fromkeys(hints))


def _unseen(recipe: Recipe) -> list[str]:
    """Say that a run which begins with noise alone does not see what is under the mask."""
    if recipe.mask is None or not recipe.mask.hides or recipe.strength != 1:
        return []
    return [f"`mask_content`: {recipe.mask.content} is not seen at `strength` 1, where the run starts from noise; 0.9 sees it."]


def _unknown(recipe: Recipe) -> list[str]:
    """Say what the embedded checkpoint cannot draw; a LoRA over it may know more."""
    if recipe.loras or not any(recipe.checkpoint == preset.embedded_checkpoint for preset in PRESETS.values()):
        return []
    found = dict.fromkeys(word for name in ("prompt", "prompt_2") for word in unknown_words(recipe.get(name) or ""))
    if not found:
        return []
    shown = ", ".join(f'"{word}"' for word in list(found)[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    way_out = "Full-size models draw it: `%diffuse use hub`, or `--checkpoint` with a hub id or a directory."
    return [f"The small checkpoint {recipe.checkpoint} was never shown {shown}{more}, and draws something else. {way_out}"]

"""Notices of a recipe: what a person should know of its prompts and pictures, known before it runs."""

from __future__ import annotations

from ..families.distilled import distilled_lora, only_named
from ..families.parameters import number_text
from ..families.step_rules import strengths_by_steps
from ..prompts import dialects
from ..prompts.unknown_words import unknown_words
from .defaults import few_steps_of
from .noise_start import called_strength, nearest_notice
from .presets import PRESETS, preset_of
from .prompt_embeddings import unused
from .recipe import PROMPTS, Recipe
from .steps import real_steps


def before_run(recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know of a complete recipe's prompts and pictures, one line each.

    The lines are those that its results carry, so every surface can show them.
    """
    of_prompts = (*_trigger(recipe), *_uncalled(recipe), *_weighting(recipe), *_unknown(recipe), *_half_of_true_cfg(recipe))
    of_start = (*_unused_picture(recipe), *_unseen(recipe), *nearest_notice(recipe))
    return (*of_prompts, *_distilled(recipe), *of_start, *picture_notices(recipe))


def picture_notices(recipe: Recipe) -> tuple[str, ...]:
    """Return what was done to the pictures of a complete recipe that went in, each line with its field."""
    return tuple(f"`{field}`: {line}" for field, picture in recipe.pictures.items() for line in picture.notices)


def _trigger(recipe: Recipe) -> list[str]:
    preset = preset_of(recipe.model)
    if not preset.trigger or preset.trigger.lower() in recipe.prompt.lower():
        return []
    return [f'{preset.name} draws its style where the prompt says "{preset.trigger}", and this one does not.']


def _uncalled(recipe: Recipe) -> list[str]:
    """Say which textual inversions no prompt calls, which therefore do nothing."""
    line = "`embedding`: no prompt says {word!r}, so it does nothing. Write it into the prompt or the negative prompt."
    return [line.format(word=word) for word in unused(recipe)]


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
    texts = [recipe.get(name) or "" for name in ("prompt", "prompt_2")]
    for one in recipe.embeddings:
        texts = [text.replace(one.token, "") if one.token else text for text in texts]
    found = dict.fromkeys(word for text in texts for word in unknown_words(text))
    if not found:
        return []
    shown = ", ".join(f'"{word}"' for word in list(found)[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    way_out = "Full-size models draw it: `%diffuse use hub`, or `--checkpoint` with a hub id or a directory."
    return [f"The small checkpoint {recipe.checkpoint} was never shown {shown}{more}, and draws something else. {way_out}"]


def _half_of_true_cfg(recipe: Recipe) -> list[str]:
    """Say that `true_cfg_scale` and a negative prompt do nothing without each other; diffusers only logs it."""
    scale = recipe.get("true_cfg_scale")
    if scale is None or (scale > 1) == bool(recipe.negative_prompt):
        return []
    if scale > 1:
        return [f'`true_cfg_scale` {number_text(scale)} does nothing without `negative_prompt`; a blank, " ", is one.']
    return [f"`negative_prompt` does nothing at `true_cfg_scale` {number_text(scale)}; give one above 1."]


def _distilled(recipe: Recipe) -> list[str]:
    """Say where steps and guidance come from that a distilled checkpoint brings, and where a run has others."""
    word = str(recipe.checkpoint)
    few = few_steps_of(recipe, word)
    word = next((one.file for one in recipe.loras if distilled_lora(one.file)), word)
    name = word.rstrip("/").rpartition("/")[2]
    if few is None:
        hint = only_named(word)
        way_out = "Where it was distilled to few steps, give what its page says: `--num-inference-steps` and `--guidance-scale`."
        return [f"{name} is called {hint}, and nothing in it says how it is run. {way_out}"] if hint else []
    steps, guidance = recipe.num_inference_steps or 0, recipe.guidance_scale
    wanted = (
        f"{few.steps} steps" if few.guidance is None else f"{few.steps} steps and `guidance_scale` {number_text(few.guidance)}"
    )
    wanted += f" with {few.scheduler}" if few.scheduler else ""
    same_guidance = few.guidance is None or guidance is None or guidance == few.guidance
    if few.fewest <= steps <= few.steps and same_guidance:
        return [f"{name} was distilled to few steps: its defaults are {wanted}, as {few.source} says."]
    return [f"{name} was distilled for {wanted}, as {few.source} says. Leave them out to run it so."]


def _unused_picture(recipe: Recipe) -> list[str]:
    """Say that a strength below 1 leaves nothing of the picture: a flow that runs every step starts from noise alone."""
    preset, steps, strength = preset_of(recipe.model), recipe.num_inference_steps or 0, called_strength(recipe)
    redraws = recipe.image is not None and recipe.mask is None and strength is not None and strength < 1
    if not redraws or strength is None or preset.scheduler_kind != "flow" or real_steps(recipe) < steps:
        return []
    lower = f"lower `strength` to {number_text(strengths_by_steps(steps, preset.step_rule)[-2])}, or " if steps > 1 else ""
    line = f"strength {number_text(strength)} × {steps} runs all {steps} steps, which start from noise alone"
    return [f"The initial picture is not used: {line}. To keep some of it, {lower}raise `num_inference_steps`."]

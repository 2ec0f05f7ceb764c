"""Notices: what a person should know of a finished run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..devices.failures import GuardedVae
from ..families.description import describe
from ..families.schedulers import unhonoured
from ..images.fidelity import sized
from ..images.metrics import METRICS
from ..images.registration import register
from ..recipes.notices import before_run
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.summary import safety_line
from . import conditioning


def notices(
    pipeline: Any,
    recipe: Recipe,
    guard: GuardedVae,
    flagged: tuple[bool, ...],
    initial: Image.Image | None,
    images: Sequence[Image.Image],
) -> tuple[str, ...]:
    """Return what a person should know of a finished run.

    Parameters
    ----------
    pipeline
        What ran.
    recipe
        Complete.
    guard
        How its VAE had to be helped.
    flagged
        For each picture whether the safety checker flagged it.
    initial, images
        What the pipeline was given, if anything, and what it made; RGB.
    """
    prompts = (conditioning.notices if recipe.weighs else _unseen_words)(pipeline, recipe)
    black = (safety_line(recipe),) if any(flagged) else ()
    helped = (("The initial picture", guard.encoder_rung), ("The picture", guard.rung))
    rungs = tuple(f"{what} was {rung}." for what, rung in helped if rung)
    elsewhere = () if any(flagged) else _moved(recipe, initial, images)
    return before_run(recipe) + _unhonoured(recipe) + prompts + rungs + black + elsewhere


def _moved(recipe: Recipe, initial: Image.Image | None, images: Sequence[Image.Image]) -> tuple[str, ...]:
    """Say that an edit moved, zoomed or turned the picture, where what measures that is installed; elsewhere strength redraws."""
    measured = all(importlib.util.find_spec(name) for name in METRICS["shift"].libraries)
    if initial is None or not measured or preset_of(recipe.model).mode(recipe) != "edit":
        return ()
    places = [register(sized(initial, image), image) for image in images]
    return tuple(dict.fromkeys(f"The picture was {place}." for place in places if place.worth_a_notice))


def _unhonoured(recipe: Recipe) -> tuple[str, ...]:
    """Say what the checkpoint sets for its own scheduler and the one that ran in its place has no argument for."""
    described = describe(str(recipe.checkpoint))
    if described is None or described.scheduler is None:
        return ()
    lost = unhonoured(described.scheduler, described.scheduler_config, str(recipe.scheduler))
    settings = ", ".join(f"{name}={value!r}" for name, value in lost.items())
    own = f"its own scheduler, {described.scheduler}, does"
    return (f"The checkpoint is made for {settings}, which {recipe.scheduler} has no setting for; {own}.",) if lost else ()


def _unseen_words(pipeline: Any, recipe: Recipe) -> tuple[str, ...]:
    """Say which words of a prompt lie past the text encoder's last token.

    Where there are several, the last one reads the most: T5 stands behind CLIP in Flux and Stable Diffusion 3.
    """
    held = (getattr(pipeline, name, None) for name in ("prior_tokenizer", "tokenizer", "tokenizer_2", "tokenizer_3"))
    tokenizer = [one for one in held if one is not None][-1]
    longest = min(tokenizer.model_max_length, recipe.get("max_sequence_length") or tokenizer.model_max_length)
    room = longest - tokenizer.num_special_tokens_to_add()
    notices = []
    for field in ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2"):
        ids = tokenizer(recipe.get(field) or "", add_special_tokens=False).input_ids
        if len(ids) > room:
            lost = tokenizer.decode(ids[room:]).strip()
            notices.append(f"`{field}` has {len(ids)} tokens and {room} fit: this part is not seen: {lost!r}")
    return tuple(notices)

"""Notices: what a person should know of a finished run."""

from __future__ import annotations

from typing import Any

from ..devices.rescue import GuardedDecode
from ..families.description import describe
from ..families.schedulers import unhonoured
from ..recipes.recipe import Recipe
from . import conditioning


def notices(pipeline: Any, recipe: Recipe, guard: GuardedDecode) -> tuple[str, ...]:
    """Return what a person should know of a finished run: words that were not seen, a decoder that had to be helped."""
    schedule = _unhonoured(recipe)
    prompts = (conditioning.notices if recipe.weighs else _unseen_words)(pipeline, recipe)
    return schedule + prompts + ((f"The picture was {guard.rung}.",) if guard.rung else ())


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
    """Say which words of a prompt lie past the text encoder's last token."""
    held = (getattr(pipeline, name, None) for name in ("tokenizer", "tokenizer_2", "prior_tokenizer"))
    tokenizer = next(one for one in held if one is not None)
    notices = []
    for field in ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2"):
        ids = tokenizer(recipe.get(field) or "", add_special_tokens=False).input_ids
        room = tokenizer.model_max_length - 2
        if len(ids) > room:
            lost = tokenizer.decode(ids[room:]).strip()
            notices.append(f"`{field}` has {len(ids)} tokens and {room} fit: this part is not seen: {lost!r}")
    return tuple(notices)

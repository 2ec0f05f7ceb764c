"""Consistency: whether results that stand side by side were made with the same files."""

from __future__ import annotations

from collections.abc import Sequence

from ..recipes.controlnets import extra_name
from ..recipes.fields import numbered_entry
from ..recipes.ip_adapter import groups
from ..recipes.lora import unfused
from ..recipes.summary import weights_label
from ..results import Result


def changed_files(results: Sequence[Result]) -> tuple[str, ...]:
    """Say which weights changed on disk between results that name the same ones, one line for each.

    Parameters
    ----------
    results
        In any order; the newest of them has the files as they are now.
    """
    found: dict[tuple[str, object], list[Result]] = {}
    for result in sorted(results, key=lambda one: one.when):
        recipe = result.recipe
        words: dict[str, object] = {"checkpoint": (recipe.checkpoint, recipe.loras)}
        words |= {"vae": recipe.vae} if recipe.vae else {}
        words |= {extra_name(number): net.checkpoint for number, net in enumerate(recipe.controlnets, start=1)}
        words |= {numbered_entry("embedding", number): one.file for number, one in enumerate(recipe.embeddings, start=1)}
        words |= {numbered_entry("lora", number): one.file for number, one in unfused(recipe.loras)}
        words |= {
            numbered_entry("ip_adapter", number): one.checkpoint
            for number, (one, _) in enumerate(groups(recipe.ip_adapters), start=1)
        }
        for part, word in words.items():
            if part in result.fingerprint:
                found.setdefault((part, word), []).append(result)
    lines = []
    for (part, word), group in found.items():
        older = sum(one.fingerprint[part] != group[-1].fingerprint[part] for one in group)
        if older:
            name = weights_label(group[-1].recipe) if part == "checkpoint" else str(word)
            were = f"{older} of {len(group)} images {'was' if older == 1 else 'were'} made before"
            lines.append(f"The files of {name} changed on disk: {were}. A new sweep makes all of them with the new files.")
    return tuple(lines)

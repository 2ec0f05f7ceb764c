"""How AUTOMATIC1111's text says the sampler and its noise schedule, and what a recipe sets of its scheduler besides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..families import scheduler_names
from ..families.scheduler_classes import scheduler_class
from ..families.scheduler_settings import has_setting
from ..recipes.recipe import Recipe
from ..recipes.scheduler_rules import SETTINGS, settings_of

OWN = "Scheduler config"
"""Our own key: settings that the tool has no word for, as JSON."""
KEYS = frozenset({"Sampler", "Schedule type", "Eta", "Eta DDIM", OWN})


def entries_of(recipe: Recipe) -> dict[str, str | None]:
    """Return the entries for the scheduler of a complete recipe."""
    sampler, schedule, settings = scheduler_names.written(recipe.scheduler or "", settings_of(recipe))
    eta = recipe.get("eta")
    said = {"Sampler": sampler, "Schedule type": schedule, OWN: json.dumps(settings) if settings else None}
    return {**said, "Eta": None if eta is None else repr(eta).removesuffix(".0")}


def carry_over(key: str, value: str, entries: Mapping[str, str], ours: bool, take: Callable[[str, Any], list[str]]) -> list[str]:
    """Put a sampler or a schedule into a recipe's fields.

    Parameters
    ----------
    key, value
        One of `KEYS`, and what stands there.
    entries
        The whole line, by key.
    ours
        Whether nbdiffuse wrote it.
    take
        Puts a value into a field; returns lines about what breaks a rule.

    Returns
    -------
    list of str
        Lines about what stays behind.
    """
    if key == "Sampler":
        return _sampler(value, ours, take)
    if key in ("Eta", "Eta DDIM"):
        return _eta(key, value, entries.get("Sampler", ""), take)
    if key == OWN:
        held = _settings(value) if ours else {}
        left = [] if held else [f"Not carried over: {key}: {value[:80]!r}."]
        return left + [line for name, setting in held.items() for line in take(name, setting)]
    sampler = entries.get("Sampler", "")
    # The automatic one is what the tool chooses for the sampler.
    meant = scheduler_names.AUTOMATIC.get(sampler) if value == "Automatic" else value
    if meant is None:
        return []
    named, found = scheduler_names.sampler_of(sampler), scheduler_names.schedule_of(meant)
    scheduler = (named.scheduler if named is not None else None) or sampler
    if found is not None and all(has_setting(scheduler, name) for name in found[1]):
        return [line for name, setting in found[1].items() for line in take(name, setting)]
    return [] if meant == "Uniform" else [f"Not carried over: Schedule type: {value[:80]!r}, no setting here does the same."]


def clip_skip_lines(*skipped: int | None) -> list[str]:
    """Say what a number of left out layers is called by other tools, for each that leaves out some."""
    line = "Clip skip {} of other tools is `clip_skip` {} here: diffusers counts the layers that are left out."
    return [line.format(one + 1, one) for one in skipped if one]


def _sampler(value: str, ours: bool, take: Callable[[str, Any], list[str]]) -> list[str]:
    known = scheduler_names.A1111
    if value in known.values() or (ours and scheduler_names.sampler_of(value) is None):
        return take("scheduler", value)
    sampler = scheduler_names.sampler_of(value)
    if sampler is None or sampler.scheduler is None:
        return [f"Not carried over: Sampler {value[:80]!r}, no scheduler here does the same."]
    held = {"scheduler": sampler.scheduler, **sampler.settings}
    return [line for name, setting in held.items() for line in take(name, setting)]


def _eta(key: str, value: str, sampler: str, take: Callable[[str, Any], list[str]]) -> list[str]:
    """Put the noise that a sampler adds at each step into `eta`, which diffusers has for DDIM and TCD alone."""
    named = scheduler_names.sampler_of(sampler)
    found = scheduler_class((named.scheduler if named is not None else None) or sampler)
    if found is None or not found.takes_eta or not re.fullmatch(r"\d{1,3}(\.\d{1,20})?", value):
        return [f"Not carried over: {key}: {value[:80]!r}, the scheduler has no such argument here."]
    return take("eta", float(value))


def _settings(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in said.items() if name in SETTINGS} if isinstance(said, dict) else {}

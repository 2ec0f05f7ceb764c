"""LoRA named in a prompt: `<lora:ink:0.8>` becomes the `lora` option where its file is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import embedded
from ..errors import ParameterError
from ..files.by_name import file_named
from ..prompts.extras import Network, networks, without
from . import lora, prompt_embeddings
from .recipe import PROMPTS, Recipe

FOLDER = "NBDIFFUSE_LORA_DIR"
"""Environment variable that names a folder with LoRA files; those in its subfolders are found too."""
SUFFIX = ".safetensors"
_PLACE = f"put it into the working directory or into the folder that {FOLDER} names"


def find(name: str) -> str | None:
    """Return the LoRA file that a name stands for, as a recipe's `lora` says it, or None.

    Parameters
    ----------
    name
        Of the file, with or without ".safetensors". It is compared with the names that
        are there and never becomes part of a path, so a prompt reaches no other file.
    """
    return file_named(name.removesuffix(SUFFIX), FOLDER, SUFFIX)


def applied(recipe: Recipe) -> Recipe:
    """Move the LoRA that a recipe's prompts name into its `lora`; the text encoder never sees their names.

    Raises
    ------
    ParameterError
        A network has no file here, or its weight is none that `lora` takes.
    """
    values = {**{name: recipe.get(name) for name in PROMPTS}, "lora": lora.text_of(recipe.loras) or None}
    moved, missing = _moved(values)
    if missing:
        field, network, reason = missing[0]
        raise ParameterError(f"`{field}` must name networks that are here, got {network.text[:80]!r}: {reason}. Or take it out.")
    return recipe if moved == values else recipe.replace(**moved)


def carried(values: Mapping[str, Any], *, move: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Take the networks out of what a text says, and say of each that has no file here that it was left out.

    Parameters
    ----------
    values
        Recipe fields by name.
    move
        Whether those that have a file become `lora`; else they stay in the prompt for
        `applied`, as alternatives in it may name different ones.

    Returns
    -------
    The fields, and a line for each network that was taken out.
    """
    moved, missing = _moved(values)
    lines = [f"Taken out of `{field}`: {network.text[:80]!r}, {reason}." for field, network, reason in missing]
    if move:
        moved, left = prompt_embeddings.carried(moved)
        return moved, lines + left
    kept = dict(values)
    for field in PROMPTS:
        for gone in [network.text for where, network, _ in missing if where == field]:
            kept[field] = without(kept[field], gone)
    return kept, lines


def _moved(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Network, str]]]:
    """Return the fields with every network out of the prompts, and those that cannot become `lora`, with the reason."""
    result = dict(values)
    missing: list[tuple[str, Network, str]] = []
    if not any(networks(values.get(field) or "") for field in PROMPTS):
        return result, missing
    given = [*lora.read(values["lora"])] if values.get("lora") else []
    for field in PROMPTS:
        # What stood around one that is gone may be one itself.
        while named := networks(result.get(field) or ""):
            for network in named:
                reason = _add(network, given)
                if reason:
                    missing.append((field, network, reason))
            result[field] = without(result[field], *(network.text for network in named))
    if given:
        result["lora"] = lora.JOINT.join(map(str, given))
    return result, missing


def _add(network: Network, given: list[lora.Lora]) -> str:
    """Put a network among the LoRA, or return why not."""
    if network.kind != "lora":
        return "hypernetworks are not read here"
    weight, in_text = network.weight, network.in_text_encoders
    if weight is None or in_text is None or not all(lora.LOWEST <= one <= lora.HIGHEST for one in (weight, in_text)):
        return f"its weights must be one or two numbers in [{lora.LOWEST:g}, {lora.HIGHEST:g}]"
    said: dict[str, Any] = {"scale": weight, **({} if in_text == weight else {"text_encoder_scale": in_text})}
    wanted = network.name.removesuffix(SUFFIX)
    for index, one in enumerate(given):
        if Path(one.file.replace("\\", "/")).stem == wanted:
            # The option names the file, the prompt how much of it; a number in both may not differ.
            if one.weight not in (1.0, weight) or one.text_encoder_scale not in (None, in_text):
                other = "" if one.in_text_encoders == one.weight else f", and {one.in_text_encoders:g} for the text encoders"
                return f"`lora` gives the same file with the weight {one.weight:g}{other}"
            given[index] = replace(one, **said)
            return ""
    file = find(network.name) or (wanted if wanted in embedded.adapter_names() else None)
    if file is None:
        return f"no file {(wanted + SUFFIX)[:80]!r} is here; {_PLACE}"
    given.append(lora.Lora(file=file, **said))
    return ""

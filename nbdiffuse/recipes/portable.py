"""What a recipe may say in a file that leaves this machine: embedded names, hub ids, the names of files, and no paths."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import embedded
from ..files.paths import here, last_part
from .controlnets import CONTROLNETS, extra_name
from .fields import numbered
from .lora import Lora
from .presets import is_named
from .recipe import Recipe
from .textual_inversion import TextualInversion

UNNAMED = "local"
"""Stands for a path that has no last part."""
WEIGHTS = ("checkpoint", "vae", "controlnet", "ip_adapter", "ip_adapter_image_encoder")
"""Fields that name weights, those of a first part among them."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB = re.compile(
    rf"(?:https://huggingface\.co/)?(?P<id>{_NAME}/{_NAME})"
    rf"(?:/(?:blob|resolve|tree)/[\w.-]+)?(?P<file>(?:/[\w .()+-]+)*/[\w .()+-]+\.\w+)?(?:@[\w./-]+)?"
)


_HOME = re.compile(r"(?:/home|/Users|[A-Za-z]:\\Users)[/\\][^/\\]+[/\\]*|~[^/\\]*[/\\]*")
"""A person's own folder: its last part is a name of the person."""


def is_hub_id(text: str) -> bool:
    """Whether a text is the id of a repository as the hub's client allows it, such as "owner/name"."""
    names = re.fullmatch(f"{_NAME}/{_NAME}", text)
    return names is not None and not any(sign in text for sign in ("..", "--")) and not text.endswith((".git", "-", "."))


def hub_repository(word: str) -> str | None:
    """Return the id of the repository that a word for weights names by its form, or None for a word of another form."""
    found = _HUB.fullmatch(word)
    if found and found["id"].endswith((".safetensors", ".bin", ".ckpt", ".pt")):
        return None  # A file in a folder: a repository's files stand behind its id.
    return found["id"] if found and is_hub_id(found["id"]) and "/../" not in word and "/./" not in word else None


def portable_word(word: str, local: bool | None = None) -> str:
    """Return a word for weights without the folders of this machine.

    Parameters
    ----------
    word
        An embedded name, a preset's ControlNet, a hub id or a path.
    local
        Whether the weights were read from this disk; None looks whether something is there. A file in a
        repository, "owner/name/style.safetensors", looks like a path, so its repository must be in the hub's cache.

    Returns
    -------
    str
        The word as it is where it is an embedded name or a hub id, else the last part of the path.
    """
    if embedded.holds(word) or word in CONTROLNETS:
        return word
    on_disk = _is_on_disk(word) if local is None else local
    if not on_disk and hub_repository(word):
        return word
    name = UNNAMED if _HOME.fullmatch(word) else last_part(word) or UNNAMED
    # A folder that is called like an embedded checkpoint is another one.
    return f"./{name}" if embedded.holds(name) or name in CONTROLNETS else name


def _is_on_disk(word: str) -> bool:
    """Whether a word means a path: something is there, or it looks like a file of a repository that was never fetched."""
    found = _HUB.fullmatch(word)
    is_file = found is not None and found["file"] is not None
    return here(word) is not None or (is_file and not _is_fetched(hub_repository(word)))


def _is_fetched(repository: str | None) -> bool:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{(repository or '').replace('/', '--')}"
    return repository is not None and os.path.isdir(folder)


def portable_loras(loras: Sequence[Lora], local: bool | None = None) -> tuple[Lora, ...]:
    """Return LoRA without the folders of this machine; `local` as for `portable_word`."""
    return tuple(dataclasses.replace(one, file=portable_word(one.file, local)) for one in loras)


def portable_embeddings(held: Sequence[TextualInversion], local: bool | None = None) -> tuple[TextualInversion, ...]:
    """Return textual inversions without the folders of this machine; `local` as for `portable_word`."""
    return tuple(dataclasses.replace(one, file=portable_word(one.file, local)) for one in held)


def portable(recipe: Recipe, fingerprint: Mapping[str, str] | None = None, local: bool | None = None) -> Recipe:
    """Return a recipe without paths of this machine; the prompts are the person's own and stay.

    Parameters
    ----------
    recipe
        Complete or not.
    fingerprint
        Of its result; it tells weights of the hub, "id@commit", from local ones.
    local
        As for `portable_word`, for weights that the fingerprint does not name. False looks at no
        disk: so are recipes read that somebody else wrote.
    """
    changes: dict[str, Any] = {}
    named = fingerprint or {}
    if recipe.checkpoint is not None:
        changes["checkpoint"] = _portable_weights(recipe.checkpoint, named.get("checkpoint"), local)
    if recipe.vae is not None:
        changes["vae"] = _portable_weights(recipe.vae, named.get("vae"), local)
    for number, net in enumerate(recipe.controlnets, start=1):
        if net.checkpoint is not None:
            identity = named.get(extra_name(number))
            changes[numbered("controlnet", number)] = _portable_weights(net.checkpoint, identity, local)
    for number, adapter in enumerate(recipe.ip_adapters, start=1):
        for field, word in (("ip_adapter", adapter.checkpoint), ("ip_adapter_image_encoder", adapter.image_encoder)):
            changes |= {numbered(field, number): portable_word(word, local)} if word is not None else {}
    if not is_named(recipe.model):
        changes["model"] = portable_word(recipe.model, local)
    if recipe.scheduler is not None and not recipe.scheduler.isidentifier():
        changes["scheduler"] = None
    changes["loras"] = portable_loras(recipe.loras, local)
    changes["embeddings"] = portable_embeddings(recipe.embeddings, local)
    return recipe.replace(**changes)


def _portable_weights(word: str, identity: str | None, local: bool | None) -> str:
    return portable_word(word, local if identity is None else "@" not in identity.partition("+")[0])

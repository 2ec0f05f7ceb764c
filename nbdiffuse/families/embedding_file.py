"""The word that a textual inversion's file gives itself, read without torch and without running what is pickled."""

from __future__ import annotations

import pickletools
import zipfile
from functools import lru_cache
from pathlib import Path

from .contents import header

OF_TOOLS = frozenset({"emb_params", "clip_l", "clip_g", "string_to_token", "string_to_param", "name", "step", "t5xxl"})
"""Keys of AUTOMATIC1111's and kohya's layouts, which are no words."""
_LARGEST = 1_000_000
"""Bytes of a pickle that is looked through; that of a textual inversion has some hundred."""


def own_token(file: Path) -> str:
    """Return the word by which prompts call a textual inversion when nobody names another.

    Parameters
    ----------
    file
        Safetensors, or what torch saves.

    Returns
    -------
    str
        The key under which diffusers saves its vectors; else the file's name without its suffix, which is
        how AUTOMATIC1111 calls it, whatever stands in the file.
    """
    try:
        state = file.stat()
        return _own_token(file, state.st_size, state.st_mtime_ns) or file.stem
    except (OSError, ValueError, zipfile.BadZipFile, KeyError):
        return file.stem


@lru_cache(maxsize=256)
def _own_token(file: Path, size: int, changed: int) -> str:
    if file.suffix.lower() == ".safetensors":
        names = list(header(file) or ())
    else:
        names = _first_text(file)
    return names[0] if len(names) == 1 and names[0] not in OF_TOOLS else ""


def _first_text(file: Path) -> list[str]:
    """Return the first text in a pickle, which of a mapping is its first key; its steps are read and not taken."""
    with zipfile.ZipFile(file) as archive:
        name = next(one for one in archive.namelist() if one.endswith("data.pkl"))
        if archive.getinfo(name).file_size > _LARGEST:
            return []
        steps = archive.read(name)
    for step, value, _ in pickletools.genops(steps):
        if "UNICODE" in step.name and isinstance(value, str):
            return [value]
        if step.name == "GLOBAL":
            return []
    return []

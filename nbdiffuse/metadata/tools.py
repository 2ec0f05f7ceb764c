"""Tools: tells which one wrote a file's text, and gives the function that reads it."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import a1111, comfyui, flat, fooocus, infotext, invokeai
from .a1111 import Parsed
from .image_files import Metadata

NAMES = (
    *("AUTOMATIC1111", "SD.Next", "Forge", "ComfyUI", "Fooocus", "RuinedFooocus", "InvokeAI", "SwarmUI"),
    *("Easy Diffusion", "Draw Things", "NovelAI"),
)
"""Tools whose files are read, for people."""
_OWN_NAMES = (
    ("invokeai_metadata", "InvokeAI", invokeai.parse),
    ("sd-metadata", "InvokeAI 2", invokeai.parse_older),
    ("Dream", "InvokeAI 1", invokeai.parse_dream),
)


def writer_of(found: Metadata, name: str = "") -> tuple[str, Callable[[], Parsed]] | None:
    """Return which tool wrote what a file says, and what reads it; None where it says nothing.

    Parameters
    ----------
    found
        From `image_files.read`.
    name
        Of the file, where it is known: of several pictures that a graph saves, it tells which one this is.

    Returns
    -------
    The tool's name, and a function that raises `ValueError` where its text is damaged.
    """
    others, parameters = found.others, found.parameters or ""
    if "fooocus_scheme" in others and parameters:
        return "Fooocus", lambda: fooocus.parse(parameters)
    for key, tool, parse in _OWN_NAMES:
        if key in others:
            return tool, _call(parse, others[key])
    if parameters:
        # Nodes of ComfyUI may write it too, beside the graph: it is what its author chose to say.
        return _of_parameters(parameters)
    if "prompt" in others:
        return "ComfyUI", lambda: comfyui.parse(others["prompt"], name)
    return None


def _call(parse: Callable[[str], Parsed], text: str) -> Callable[[], Parsed]:
    return lambda: parse(text)


def _of_parameters(text: str) -> tuple[str, Callable[[], Parsed]]:
    entries = flat.record(text)
    if entries is not None:
        if {"metadata_scheme", "base_model"} <= set(entries) or str(entries.get("version", "")).startswith("Fooocus"):
            return "Fooocus", lambda: fooocus.parse(text)
        return flat.tool_of(entries) or "", lambda: flat.parse(entries)
    said = infotext.taken_apart(text).entries
    version = said.get("Version", "")
    if version.startswith("Fooocus"):
        return "Fooocus", lambda: fooocus.parse(text)
    tool = "SD.Next" if said.get("App") == "SD.Next" else "Forge" if re.match(r"f\d", version) else "AUTOMATIC1111"
    return tool, lambda: a1111.parse(text)

"""Texts that a picture's file carries: in chunks, EXIF, XMP, comments, or the lowest bits of its pixels."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from PIL import Image

from ..files.paths import path_of
from ..images.reader import open_header
from . import exif, flat, png_text, stealth, xmp
from .a1111 import looks_like_generation_text
from .imported import loaded

OURS, PARAMETERS = "nbdiffuse", "parameters"
OTHERS = ("fooocus_scheme", "invokeai_metadata", "sd-metadata", "Dream", "prompt")
"""Names that Fooocus, InvokeAI, its versions 2 and 1, and ComfyUI give to their texts."""
FORMATS = ("PNG", "JPEG", "WEBP")
_OF_OWN = (
    *("Software", "Source", "Description", "Comment", "prompt"),
    *("Prompt", "Negative Prompt", "Seed", "Steps", "Guidance Scale", "Prompt Strength", "Sampler", "Width", "Height"),
    *("Stable Diffusion model", "VAE model", "Clip Skip", "Hypernetwork model", "LoRA model"),
    *("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "prompt_strength", "sampler_name", "width", "height"),
    *("use_stable_diffusion_model", "use_vae_model", "clip_skip", "use_hypernetwork_model", "use_lora_model", "lora_alpha"),
)
"""Names of NovelAI and Easy Diffusion, which write a text for each value."""
_COMMENTS = ("Comment", "comment", "Description", "generation_data")
"""Names under which anything may stand, a JPEG's own comment among them."""
_XMP = "XML:com.adobe.xmp"
_WANTED = frozenset((OURS, PARAMETERS, _XMP, *OTHERS, *_OF_OWN, *_COMMENTS))
_LARGEST = 4_000_000
_MAX_PIXELS = 40_000_000


def of(source: str | os.PathLike[str] | bytes | Image.Image, hidden: bool = False) -> dict[str, str]:
    """Return the texts in a file that say how its picture was made, by name: `OURS`, `PARAMETERS`, and those of `OTHERS`.

    Parameters
    ----------
    source
        A PNG, JPEG or WebP file, its bytes, or a PIL image that was opened from one.
    hidden
        Whether to look into the lowest bits of the pixels, too, where there is no other text.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or a text in it is damaged or too large. Pillow's
        parsers raise other types, too.
    """
    if isinstance(source, Image.Image):
        return _of_image(source, hidden)
    with io.BytesIO(source) if isinstance(source, bytes) else path_of(source).open("rb") as file:
        if file.read(len(png_text.SIGNATURE)) == png_text.SIGNATURE:
            chunks, block = png_text.read(file, _WANTED)
            return _chosen(chunks, block, chunks.get(_XMP)) or _of_pixels(file, hidden)
        file.seek(0)
        with open_header(file, FORMATS) as image:
            return _of_image(image, hidden)


def _of_pixels(file: BinaryIO, hidden: bool) -> dict[str, str]:
    """Return what a PNG without any text has in its pixels; it is opened in any case, to tell whether it is a picture."""
    file.seek(0)
    try:
        with open_header(file, FORMATS) as image:
            if not hidden or image.width * image.height > _MAX_PIXELS:
                return {}
            image.load()
            text = stealth.read(image)
    except ValueError as error:
        if str(error).startswith(("Decompressed data", "Too much memory")):
            return {}  # Of a text that nobody asks for, Pillow says that it is too large.
        raise
    return _hidden(text)


def _of_image(image: Image.Image, hidden: bool) -> dict[str, str]:
    found = _chosen(image.info, image.info.get("exif", b""), image.info.get("xmp", image.info.get(_XMP)))
    if not found and image.format == "PNG" and image.width * image.height <= _MAX_PIXELS:
        image.load()  # What stands behind the pixels comes with them.
        found = _chosen(image.info, b"", None)
    if not found and hidden and image.format in ("PNG", "WEBP") and image.width * image.height <= _MAX_PIXELS:
        return _hidden(stealth.read(image))
    return found


def _hidden(text: str | None) -> dict[str, str]:
    return {} if text is None else _chosen({"comment": text}, b"", None)


def _chosen(info: Mapping[Any, Any], block: bytes, packet: Any) -> dict[str, str]:
    """Choose from all texts those that say how the picture was made."""
    ours, comments = xmp.read(packet)
    found = {name: _text(info[name], name) for name in (OURS, PARAMETERS, *OTHERS) if info.get(name, "") != ""}
    if ours is not None and OURS not in found:
        found[OURS] = ours
    texts, named = exif.read(block) if block else ([], {})
    found = {**named, **found}
    texts = [*texts, *comments, *(value for name in _COMMENTS for value in _comment(info.get(name)))]
    if PARAMETERS not in found:
        _add_parameters(found, texts, {name: info[name] for name in _OF_OWN if isinstance(info.get(name), str)})
    return found


def _add_parameters(found: dict[str, str], texts: list[str], of_own: dict[str, str]) -> None:
    """Put into `PARAMETERS` what stands somewhere else, where it says how a picture was made; cameras comment, too."""
    if flat.tool_of(of_own):
        found[PARAMETERS] = json.dumps(of_own)
        found.pop("prompt", None)
        return
    for text in texts:
        if "fooocus_scheme" in found or flat.record(text) or looks_like_generation_text(text):
            found[PARAMETERS] = text
            return
        graph = _graph(text)
        if graph is not None:
            found.setdefault("prompt", graph)


def _graph(text: str) -> str | None:
    """Return the graph of ComfyUI that a comment holds, as some of its nodes write it."""
    if '"class_type"' not in text or not text.startswith("{"):
        return None
    try:
        held = loaded(text)
    except ValueError:
        return None
    graph = held.get("prompt", held)
    return graph if isinstance(graph, str) else json.dumps(graph)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is too large, or no text")
    return value


def _comment(value: Any) -> Iterator[str]:
    text = exif.decoded(value[:_LARGEST]) if isinstance(value, bytes) else value
    if isinstance(text, str) and text:
        yield text[:_LARGEST]

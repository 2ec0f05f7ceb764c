"""Tools that write one value under each name: SwarmUI, RuinedFooocus, Draw Things, Easy Diffusion, NovelAI and similar ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .a1111 import Parsed
from .imported import ImportedParameters, loaded, visible

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "positiveprompt", "positive", "c"),
    "negative_prompt": ("negativeprompt", "negative", "uc"),
    "num_inference_steps": ("steps", "numinferencesteps"),
    "guidance_scale": ("cfgscale", "guidancescale", "cfg", "scale"),
    "seed": ("seed",),
    "width": ("width",),
    "height": ("height",),
}
_STRENGTHS = ("strength", "denoise", "denoisingstrength", "initimagecreativity", "promptstrength")
_SAMPLERS = ("sampler", "samplername", "comfyuisampler")
_SCHEDULES = ("scheduler", "schedulername", "comfyuischeduler", "noiseschedule", "scheduletype")
_SIZES = ("size", "resolution")
_MODELS = ("model", "basemodelname", "usestablediffusionmodel", "stablediffusionmodel", "basemodel", "modelname", "ckptname")
_HASHES = ("basemodelhash", "modelhash")
_LORAS = ("loras", "lora", "uselorasmodel", "useloramodel")
_LORA_WEIGHTS = ("loraweights", "loraalpha")
_PROGRAM = frozenset(
    (
        *("software", "version", "swarmversion", "appversion", "createdby", "metadatascheme", "profile", "signedhash"),
        *("v4prompt", "v4negativeprompt", "v2", "nsamples", "requesttype", "generationtime", "automaticvae", "aspectratio"),
        *("usecpu", "device", "streamimageprogress", "showonlyfilteredimage", "outputformat", "outputquality", "vramusagelevel"),
        *("numoutputs", "images", "saveto", "usedrandomseed", "metadataoutputformat", "sidelength", "blockentropy", "seedmode"),
    )
)
"""Names that say what a program is called, or nothing about the picture."""
_KNOWN = {name: field for field, names in _FIELDS.items() for name in names}


def tool_of(entries: Mapping[str, Any]) -> str | None:
    """Return which tool writes such entries; None where they say nothing of how a picture was made."""
    keys = set(entries)
    names = {_plain(key) for key in keys}
    if "sui_image_params" in keys:
        return "SwarmUI"
    if str(entries.get("software", "")) == "RuinedFooocus" or {"Prompt", "Negative", "base_model_name"} <= keys:
        return "RuinedFooocus"
    if str(entries.get("Software", "")) == "NovelAI":
        return "NovelAI"
    if {"c", "uc"} <= keys:
        return "Draw Things"
    if names & {"usestablediffusionmodel", "stablediffusionmodel"} or {"negative_prompt", "num_inference_steps"} <= keys:
        return "Easy Diffusion"
    if {"v4_prompt", "uc"} & keys and "scale" in keys:
        return "NovelAI"
    texts = [value for key, value in entries.items() if _KNOWN.get(_plain(key)) == "prompt" and isinstance(value, str)]
    if texts and names & {"steps", "numinferencesteps", "seed", "negativeprompt", "cfgscale", "guidancescale"}:
        return visible(str(entries.get("software") or "a tool that it does not name")[:40])
    return None


def record(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a text is, where it says how a picture was made; None else."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    try:
        entries = loaded(text.strip("\ufeff \t\r\n\0"))
    except ValueError:
        return None
    return entries if isinstance(entries, dict) and tool_of(entries) else None


def parse(entries: Mapping[str, Any]) -> Parsed:
    """Read entries of a tool that `tool_of` knows.

    Parameters
    ----------
    entries
        By name, as JSON or as texts.

    Returns
    -------
    Parsed
        What could be carried over, and what could not.

    Raises
    ------
    ValueError
        The place for the entries holds none.

    Notes
    -----
    Source: SwarmUI `docs/Image Metadata Format.md`, RuinedFooocus `modules/imagelog.py`,
    Easy Diffusion `easydiffusion/utils/save_utils.py`.
    """
    entries = _unwrapped(entries)
    imported = ImportedParameters()
    named = {_plain(key): (str(key), value) for key, value in reversed(list(entries.items()))}
    for field, names in _FIELDS.items():
        for key, value in _take(named, names):
            if value not in ("", None) or field == "prompt":
                imported.take(field, value if field != "prompt" or value is not None else "", key)
    for key, value in _take(named, _SIZES):
        imported.take_size(value, key)
    _strength(named, imported)
    for key, value in _take(named, _SAMPLERS):
        imported.take_sampler(value, key)
    for key, value in _take(named, _SCHEDULES):
        imported.take_schedule(value, key)
    _model(named, imported)
    _loras(named, imported)
    imported.leave_all({key: value for name, (key, value) in sorted(named.items()) if name not in _PROGRAM})
    if "NovelAI" in str(entries.get("Software", "")) and re.search(r"[{}]", imported.values.get("prompt", "")):
        imported.say("Braces weigh words in NovelAI; here they are read as words. Take them out.")
    return imported.parsed()


def _plain(key: Any) -> str:
    return re.sub("[^a-z0-9]", "", str(key).lower())


def _take(named: dict[str, tuple[str, Any]], names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the first of some names that is there, and take all of them away."""
    held = [named.pop(name) for name in names if name in named]
    yield from held[:1]


def _unwrapped(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that a tool puts into another one."""
    if "sui_image_params" in entries:
        inner = entries["sui_image_params"]
        if not isinstance(inner, dict):
            raise ValueError("no metadata of a generation")
        return inner
    if str(entries.get("Software", "")) != "NovelAI":
        return dict(entries)
    comment = entries.get("Comment", "{}")
    inner = loaded(comment) if isinstance(comment, str) else comment
    if not isinstance(inner, dict):
        raise ValueError("no metadata of a generation")
    outer = {"prompt": entries["Description"]} if entries.get("Description") else {}
    return {**inner, **outer, "Software": "NovelAI", "model": entries.get("Source")}


def _strength(named: dict[str, tuple[str, Any]], imported: ImportedParameters) -> None:
    """Take the strength, where a picture was redrawn: many tools write one for pictures that were not, too."""
    request = str(named.get("requesttype", ("", ""))[1])
    for key, value in _take(named, _STRENGTHS):
        if value in (1, 1.0, "1", "1.0", None, "", "None"):
            continue
        if "software" in named and named["software"][1] == "NovelAI" and not re.search("img2img|infill", request, re.IGNORECASE):
            imported.leave(key, value, "it counts where a picture is redrawn, and the file does not say that one was")
        else:
            imported.take("strength", value, key)


def _model(named: dict[str, tuple[str, Any]], imported: ImportedParameters) -> None:
    digest = next((value for _, value in _take(named, _HASHES)), None)
    for key, value in _take(named, _MODELS):
        family = value.get("label") if isinstance(value, dict) else ""
        if isinstance(value, dict):
            value = value.get("modelFileName") or value.get("name") or family
        imported.take_model(value, digest, family=family, said_as=key)
        return
    imported.take_model(None, digest)


def _loras(named: dict[str, tuple[str, Any]], imported: ImportedParameters) -> None:
    weights = next((value for _, value in _take(named, _LORA_WEIGHTS)), None)
    weights = weights if isinstance(weights, list) else [weights]
    for key, value in _take(named, _LORAS):
        for index, one in enumerate(value if isinstance(value, list) else [value]):
            weight = weights[index] if index < len(weights) and weights[index] is not None else 1.0
            name = one
            if isinstance(one, dict):
                name, weight = one.get("file") or one.get("name") or one.get("model"), one.get("weight", weight)
            elif isinstance(one, list) and len(one) == 2:
                # RuinedFooocus writes a hash, and the weight with the name.
                name, weight = (one[1], weight) if isinstance(one[1], str) else one
            if isinstance(name, str) and (written := re.fullmatch(r"(-?\d*\.?\d+) - (.+)", name)):
                weight, name = written[1], written[2]
            if name not in (None, "", "None", False):
                imported.take_lora(name, weight, key)

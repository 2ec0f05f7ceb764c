"""Fingerprints: the entries that one may have and what each may hold; whatever comes from outside is checked here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.families import FAMILIES
from ..recipes.portable import is_hub_id

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "npu", "mlu", "mtia", "xla", "tpu")
"""Types of torch's devices."""
_VERSION = re.compile(r"\d[0-9A-Za-z.+!_-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
# A class, and perhaps settings behind it: signs that end no literal and begin no comment.
_SCHEDULER = re.compile(r"[A-Z][A-Za-z0-9]{0,60}Scheduler(?:[ (][A-Za-z0-9_=.,: ()+-]{0,200})?", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}(?::-?\d+(?:\.\d+)?(?:e-?\d+)?){0,2}", re.ASCII)
_COMMIT = re.compile(r"(?P<id>[^@]{3,200})@[0-9a-f]{40}(?P<file>/[\w ./()+-]{1,200})?", re.ASCII)
_PARTS = 20
"""Files and repositories that one identity is joined from, at most."""


def _is_version(value: str) -> bool:
    return _VERSION.fullmatch(value) is not None


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_identity(value: str) -> bool:
    """Whether a text identifies weights: hashes, each perhaps with a LoRA's weights, and hub ids with their commits."""
    parts = value.split("+")
    return len(parts) <= _PARTS and all(_HASH.fullmatch(part) or _is_commit(part) for part in parts)


def _is_commit(part: str) -> bool:
    found = _COMMIT.fullmatch(part)
    return found is not None and is_hub_id(found["id"]) and ".." not in (found["file"] or "")


_FURTHER = re.compile(r"\A(controlnet|embedding|ip_adapter|lora)_(?:[2-9]|[1-9][0-9])\Z")
_RULES: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        **dict.fromkeys(("nbdiffuse", "torch", "diffusers", "transformers", "compel"), ("a version", _is_version)),
        "device": (f"one of {', '.join(DEVICES)}", DEVICES.__contains__),
        "dtype": (f"one of {', '.join(DTYPES)}", DTYPES.__contains__),
        "threads": ("a whole number", _is_number),
        "batch": ("a number of rows", lambda value: _is_number(value.removesuffix(" rows").removesuffix(" row"))),
        "pipeline": (
            "a pipeline class of a family",
            lambda value: any(value in family.pipelines.values() for family in FAMILIES.values()),
        ),
        "scheduler": ("a scheduler class", lambda value: _SCHEDULER.fullmatch(value) is not None),
        **dict.fromkeys(
            ("checkpoint", "vae", "controlnet", "embedding", "ip_adapter", "lora"),
            ("hashes or hub ids with commits", _is_identity),
        ),
        "attention": ("one of sdpa, xformers, plain", ("sdpa", "xformers", "plain").__contains__),
        **dict.fromkeys(("compile", "channels_last", "vae_tiling"), ("on", "on".__eq__)),
    }
)
"""For each entry its rule in words, and what tells whether a text keeps it."""


def breach(name: object, value: object) -> str | None:
    """Return a line where an entry is none that a fingerprint may have, or None where it is."""
    # Every further part of a kind has an entry as the first one has.
    kind = _FURTHER.sub(r"\1", name) if isinstance(name, str) else ""
    if kind not in _RULES:
        return breaks_rule("fingerprint", f"made of {', '.join(_RULES)}", name)
    rule, keeps = _RULES[kind]
    return None if isinstance(value, str) and keeps(value) else breaks_rule(f"fingerprint: {name}", rule, value)


def checked(fingerprint: Any) -> dict[str, str]:
    """Return a fingerprint as it is.

    Parameters
    ----------
    fingerprint
        From a worker or a library: any value.

    Raises
    ------
    ParameterError
        It is no mapping, or an entry is none that a fingerprint may have.
    """
    if not isinstance(fingerprint, Mapping):
        raise ParameterError(breaks_rule("fingerprint", "names with values", fingerprint))
    for name, value in fingerprint.items():
        line = breach(name, value)
        if line is not None:
            raise ParameterError(line)
    return dict(fingerprint)


def cleaned(fingerprint: Mapping[Any, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what of a fingerprint may stand in one, and a line for each entry that may not."""
    breaches = {name: breach(name, value) for name, value in fingerprint.items()}
    kept = {name: value for name, value in fingerprint.items() if breaches[name] is None}
    return kept, tuple(line for line in breaches.values() if line is not None)

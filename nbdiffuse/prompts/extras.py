"""What other tools' prompts ask for besides words: networks, embeddings, schedules, wildcards."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NETWORK = re.compile(r"<(?P<kind>lora|lyco|hypernet):(?P<name>[^<>:\n]+)(?::(?P<rest>[^<>\n]*))?>", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*", re.ASCII)
_EMBEDDING = re.compile(r"\bembedding:[\w.\-\\/]*[\w\-]", re.IGNORECASE)
_SAYS = (
    (re.compile(r"\[[^\[\]\n|:]{0,200}:(?:[^\[\]\n|:]{0,200}:)?\s*[\d.]+\s*\]"), "changes the prompt between steps"),
    (re.compile(r"\[[^\[\]\n]{0,200}(?<!\\)\|[^\[\]\n]{0,200}\]"), "changes the prompt at every step"),
    (re.compile(r"\bAND\b"), "denoises two prompts apart"),
    (re.compile(r"\bBREAK\b"), "begins a new chunk of the prompt"),
    (re.compile(r"__[\w\-*/.]{1,80}?__"), "stands for a line of a wildcard file"),
)
"""What AUTOMATIC1111 and its extensions do with signs that are words here."""
_HOLE = "\0"


@dataclass(frozen=True)
class Network:
    """A network that a prompt names, such as `<lora:ink:0.8>`.

    Parameters
    ----------
    text
        As it stands in the prompt.
    kind
        "lora", or "hypernet".
    name
        Of its file, without the suffix.
    weight, in_text_encoders
        How much of it is added, and how much to the text encoders; None where the text says something else.
    """

    text: str
    kind: str
    name: str
    weight: float | None
    in_text_encoders: float | None


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks that a prompt names, in their order.

    Examples
    --------
    >>> networks("a boat <lora:ink:0.8>")
    (Network(text='<lora:ink:0.8>', kind='lora', name='ink', weight=0.8, in_text_encoders=0.8),)
    """
    found = []
    for one in _NETWORK.finditer(text):
        kind = "hypernet" if one["kind"].lower() == "hypernet" else "lora"
        found.append(Network(one[0], kind, one["name"].strip(), *_weights(one["rest"])))
    return tuple(found)


def _weights(rest: str | None) -> tuple[float | None, float | None]:
    """Read what stands behind a network's name: the text encoder's weight first, then the UNet's where it is another.

    Source: AUTOMATIC1111 `extensions-builtin/Lora/extra_networks_lora.py`.
    """
    parts = [part for part in (rest or "").split(":") if part.strip()]
    named = dict(part.strip().split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    numbers = [*plain, *named.values()]
    if len(plain) > 2 or not named.keys() <= {"te", "unet"} or not all(_NUMBER.fullmatch(one) for one in numbers):
        return None, None
    text = float(named.get("te", plain[0] if plain else "1"))
    return float(named.get("unet", plain[1] if len(plain) > 1 else text)), text


def without(text: str, *removed: str) -> str:
    """Take parts out of a prompt, and the blanks and commas that only parted them from the rest."""
    holes = text.replace(_HOLE, " ")
    for part in removed:
        holes = holes.replace(part, _HOLE)
    if _HOLE not in holes:
        return text
    holes = re.sub(rf"\s*{_HOLE}(?:\s*{_HOLE})*", _HOLE, holes)
    holes = re.sub(rf",{_HOLE}(?=\s*(?:,|\Z))", "", holes)
    holes = re.sub(rf"\A{_HOLE}\s*,?", "", holes)
    return holes.replace(_HOLE, "").strip()


def embeddings(text: str) -> tuple[str, ...]:
    """Return the textual inversions that a prompt names as ComfyUI does, such as `embedding:name`."""
    return tuple(dict.fromkeys(found[0] for found in _EMBEDDING.finditer(text)))


def read_as_words(text: str, dialect: str = "none") -> tuple[str, ...]:
    """Say of each sign that means more to another tool that it is read as words here, one line each.

    Parameters
    ----------
    text
        A prompt.
    dialect
        The one it is read in; what that dialect reads or refuses itself is left out.

    Examples
    --------
    >>> read_as_words("a [red:blue:0.5] boat")
    ('`[red:blue:0.5]` changes the prompt between steps in AUTOMATIC1111; here it is read as words. Write what is meant.',)
    """
    lines = []
    # In capitals throughout, AND is a word.
    shouted = text.upper() == text
    for looks, does in () if dialect == "a1111" or shouted else _SAYS:
        for shown in dict.fromkeys(found[0][:60] for found in looks.finditer(text)):
            lines.append(f"`{shown}` {does} in AUTOMATIC1111; here it is read as words. Write what is meant.")
    for shown in embeddings(text):
        lines.append(f"`{shown[:60]}` is a textual inversion in ComfyUI; here it is read as words. Give its file as `embedding`.")
    return tuple(lines)

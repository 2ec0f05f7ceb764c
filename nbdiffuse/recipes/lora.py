"""LoRA: small additions to a checkpoint's weights, written as `FILE:WEIGHT`, several joined by " + ".

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from ..errors import ParameterError, breaks_rule
from ..families.parameters import Param
from .parts import Part, declared_in_part

JOINT = " + "
LOWEST, HIGHEST = -4.0, 4.0
"""Weights that are allowed; beyond them pictures fall apart, and a missing decimal point is likelier than a wish."""


@dataclass(frozen=True, kw_only=True)
class Lora(Part):
    """A LoRA over the checkpoint's weights; written `FILE:SCALE`, such as "style.safetensors:0.8".

    Parameters
    ----------
    file
        A .safetensors file, or one in a hub repository such as "id/style.safetensors".
    scale
        How much of it is added, in [-4, 4]; diffusers' `lora_scale`.

    Raises
    ------
    ParameterError
        The scale is out of range.
    """

    TITLE: ClassVar[str] = "lora"
    NOTATION: ClassVar[str] = "lora"

    file: str | None = declared_in_part("lora_file", Param(str, "LoRA file"))
    scale: float | None = declared_in_part("lora_scale", Param(float, "how much of the LoRA is added", LOWEST, HIGHEST, 0.05))

    @classmethod
    def from_text(cls, text: str) -> Lora:
        """Read `FILE` or `FILE:SCALE`."""
        return _read_one(text)

    @property
    def weight(self) -> float:
        """The scale; 1 where none was said."""
        return 1.0 if self.scale is None else self.scale

    def __str__(self) -> str:
        return f"{self.file}" if self.weight == 1 else f"{self.file}:{self.weight!r}".removesuffix(".0")


def read(text: str) -> tuple[Lora, ...]:
    """Read a recipe's `lora`.

    Raises
    ------
    ParameterError
        A file is none with safetensors, or a weight is no number in [-4, 4].
    """
    return tuple(_read_one(one.strip()) for one in text.split(JOINT))


def _read_one(text: str) -> Lora:
    file, colon, weight = text.rpartition(":")
    # In C:\style.safetensors the colon is the drive's.
    if not colon or "/" in weight or "\\" in weight:
        file, weight = text, "1"
    if not file.endswith(".safetensors"):
        way_out = "Pickles are not read. Write FILE.safetensors:0.8, several joined by ' + '."
        raise ParameterError(breaks_rule("lora", "a .safetensors file", text, way_out))
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not LOWEST <= number <= HIGHEST:
        raise ParameterError(breaks_rule("lora", f"a file with a weight in [{LOWEST:g}, {HIGHEST:g}]", text, "Try 0.8."))
    return Lora(file=file, scale=number)


def without_paths(loras: Sequence[Lora]) -> tuple[Lora, ...]:
    """Leave of local files only their names: the rest may name a person."""
    names = (Path(str(one.file)).name if _is_local(str(one.file)) else one.file for one in loras)
    return tuple(replace(one, file=name) for one, name in zip(loras, names, strict=True))


def _is_local(file: str) -> bool:
    return file.startswith((".", "~", "/", "\\")) or Path(file).is_absolute() or Path(file).expanduser().exists()


def require_library() -> None:
    """Raise `ParameterError` where peft, which adds LoRA to models, is not installed."""
    if find_spec("peft") is None:
        way_out = 'Run `pip install "nbdiffuse[lora]"`, or leave `lora` out.'
        raise ParameterError(f"`lora` needs peft, and it is not installed. {way_out}")


def word(checkpoint: str, loras: Sequence[Lora]) -> str:
    """Return the word that stands for a checkpoint with LoRA in it; `parted` takes it apart."""
    return JOINT.join([checkpoint, *map(str, loras)])


def parted(text: str) -> tuple[str, tuple[Lora, ...]]:
    """Take a word apart into the checkpoint's and its LoRA."""
    checkpoint, joint, rest = text.partition(JOINT)
    return (checkpoint, read(rest)) if joint else (text, ())

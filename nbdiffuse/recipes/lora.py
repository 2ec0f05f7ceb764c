"""LoRA: small additions to a checkpoint's weights, written as `FILE:WEIGHT`, several joined by " + ".

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import ParameterError, breaks_rule
from .parameters import number_text

JOINT = " + "
LOWEST, HIGHEST = -4.0, 4.0
"""Weights that are allowed; beyond them pictures fall apart, and a missing decimal point is likelier than a wish."""


@dataclass(frozen=True)
class Lora:
    """One LoRA.

    Parameters
    ----------
    file
        A .safetensors file, or one in a hub repository such as "id/style.safetensors".
    weight
        How much of it is added, in [-4, 4].
    """

    file: str
    weight: float = 1.0

    def __str__(self) -> str:
        return self.file if self.weight == 1 else f"{self.file}:{number_text(self.weight)}"


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
    return Lora(file, number)


def without_paths(text: str) -> str:
    """Leave of local files only their names: the rest may name a person."""
    found = read(text)
    return JOINT.join(str(Lora(Path(one.file).name if _is_local(one.file) else one.file, one.weight)) for one in found)


def _is_local(file: str) -> bool:
    return file.startswith((".", "~", "/", "\\")) or Path(file).is_absolute() or Path(file).expanduser().exists()


def require_library() -> None:
    """Raise `ParameterError` where peft, which adds LoRA to models, is not installed."""
    if find_spec("peft") is None:
        way_out = 'Run `pip install "nbdiffuse[lora]"`, or leave `lora` out.'
        raise ParameterError(f"`lora` needs peft, and it is not installed. {way_out}")


def word(checkpoint: str, lora: str | None) -> str:
    """Return the word that stands for a checkpoint with LoRA in it; `parted` takes it apart."""
    return f"{checkpoint}{JOINT}{lora}" if lora else checkpoint


def parted(text: str) -> tuple[str, tuple[Lora, ...]]:
    """Take a word apart into the checkpoint's and its LoRA."""
    checkpoint, joint, rest = text.partition(JOINT)
    return (checkpoint, read(rest)) if joint else (text, ())

"""LoRA: small additions to a checkpoint's weights, written as `FILE:SCALE`, several joined by " + ".

Text encoders may get another part of it than the rest: `FILE:0.8:text_encoder=0.5`. It is added into the
weights, and `:unfused` keeps it beside them, so that other scales need no other weights.

A path that exists is taken whole, whatever signs it has; quotation marks do the same for one that
does not: `"ink + fog.safetensors":0.8`.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import ClassVar

from .. import embedded
from ..errors import ParameterError, breaks_rule
from ..families.parameters import Param, number_text
from ..files.paths import here
from .parts import Part, declared_in_part

JOINT = " + "
LOWEST, HIGHEST = -4.0, 4.0
"""Weights that are allowed; beyond them pictures fall apart, and a missing decimal point is likelier than a wish."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Lora(Part):
    """A LoRA over the checkpoint's weights; written `FILE:SCALE`, such as "style.safetensors:0.8:text_encoder=0.5".

    Parameters
    ----------
    file
        A name of this package's, a .safetensors file, a folder with one, one in a hub repository such as "id/style.safetensors",
        or a hub repository that holds one.
    scale
        How much of it is added, in [-4, 4]; diffusers' `lora_scale`.
    text_encoder_scale
        How much of it is added to the text encoders, in [-4, 4]; as much as to the rest where not given.
    fused
        False keeps it beside the weights, as diffusers does without `fuse_lora`: each step takes
        longer, and another scale takes no other weights. The pictures differ in the last bits.

    Raises
    ------
    ParameterError
        The scale is out of range.
    """

    TITLE: ClassVar[str] = "lora"
    NOTATION: ClassVar[str] = "lora"
    FORM: ClassVar[str] = "lora: FILE or FILE:SCALE; behind it :text_encoder=SCALE, and :unfused beside the weights"

    file: str = declared_in_part("lora_file", Param(str, "LoRA file"), "")
    scale: float | None = declared_in_part("lora_scale", Param(float, "how much of the LoRA is added", LOWEST, HIGHEST, 0.05))
    text_encoder_scale: float | None = declared_in_part(
        "lora_text_encoder_scale", Param(float, "how much of the LoRA the text encoders get", LOWEST, HIGHEST, 0.05)
    )
    fused: bool | None = declared_in_part("lora_fused", Param(bool, "add the LoRA into the weights; false keeps it beside them"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fused:
            object.__setattr__(self, "fused", None)

    @classmethod
    def from_text(cls, text: str) -> Lora:
        """Read `FILE`, and what may stand behind it."""
        return _read_one(text)

    @classmethod
    def several(cls, text: str) -> tuple[Lora, ...]:
        """Read one or several, joined by " + "."""
        return read(text)

    @property
    def empty(self) -> bool:
        """Whether it has no file."""
        return not self.file

    @property
    def weight(self) -> float:
        """The scale; 1 where none was said."""
        return 1.0 if self.scale is None else self.scale

    @property
    def in_text_encoders(self) -> float:
        """The scale in the text encoders; that of the rest where none was said."""
        return self.weight if self.text_encoder_scale is None else self.text_encoder_scale

    def __str__(self) -> str:
        shown = f'"{self.file}"' if _is_ambiguous(self.file) else self.file
        shown = shown if self.weight == 1 else f"{shown}:{number_text(self.weight)}"
        if self.text_encoder_scale is not None:
            shown += f":{_IN_TEXT_ENCODERS}{number_text(self.text_encoder_scale)}"
        return f"{shown}:{_UNFUSED}" if self.fused is False else shown


_HUB_ID = re.compile(r"(?:https://huggingface\.co/)?[\w-][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
_QUOTED = re.compile(r'"(?P<file>[^"]+)"(?::(?P<said>.*))?')
_IN_TEXT_ENCODERS = "text_encoder="
_UNFUSED = "unfused"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def read(text: str) -> tuple[Lora, ...]:
    """Read a recipe's `lora`.

    Raises
    ------
    ParameterError
        A file is none with safetensors, or a weight is no number in [-4, 4].
    """
    return tuple(map(_read_one, _items(text)))


def _items(text: str) -> Iterator[str]:
    """Split at the joints that stand outside of paths: a part goes on until it is a whole file."""
    parts = text.split(JOINT)
    while parts:
        taken = next((n for n in range(len(parts), 0, -1) if _exists(JOINT.join(parts[:n]).strip())), 0)
        taken = taken or next((n for n in range(1, len(parts) + 1) if _is_whole(JOINT.join(parts[:n]).strip())), 1)
        yield JOINT.join(parts[:taken]).strip()
        parts = parts[taken:]


def _exists(text: str) -> bool:
    return _on_disk(text) or _on_disk(_split(text)[0])


def _on_disk(file: str) -> bool:
    return here(file) is not None


def _is_folder(file: str) -> bool:
    path = here(file)
    return path is not None and path.is_dir()


def _is_whole(text: str) -> bool:
    file, _ = _split(text)
    return (
        file.lower().endswith(".safetensors")
        or file in embedded.adapter_names()
        or bool(_QUOTED.fullmatch(text))
        or _is_repository(file)
    )


def _split(text: str) -> tuple[str, tuple[str, ...]]:
    """Split a file from what stands behind it between colons."""
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        return quoted["file"], tuple(quoted["said"].split(":")) if quoted["said"] is not None else ()
    file, said = text, list[str]()
    while not (said and _on_disk(file)):
        rest, colon, last = file.rpartition(":")
        # In C:\\style.safetensors the colon is the drive's.
        if not colon or "/" in last or "\\" in last or last.lower().endswith(".safetensors"):
            break
        file, said = rest, [last, *said]
    return file, tuple(said)


def _read_one(text: str) -> Lora:
    file, said = (text, ()) if _on_disk(text) else _split(text)
    is_hub = bool(_HUB_ID.fullmatch(file)) and Path(file).suffix.lower() not in PICKLES
    known = is_hub or file in embedded.adapter_names()
    if not file.lower().endswith(".safetensors") and not known and not _is_folder(file):
        raise ParameterError(breaks_rule("lora", "a .safetensors file", text, _way_out(file)))
    of_text = [one.removeprefix(_IN_TEXT_ENCODERS) for one in said if one.startswith(_IN_TEXT_ENCODERS)]
    plain = [one for one in said if not one.startswith(_IN_TEXT_ENCODERS) and one != _UNFUSED]
    fused = False if _UNFUSED in said else None
    if len(plain) > 1 or len(of_text) > 1:
        way_out = f"Write {PurePath(file).name}:0.8, and :text_encoder=0.5 behind it for another weight of the text encoders."
        raise ParameterError(breaks_rule("lora", "a file with one weight for each part", text, way_out))
    scale = _number(plain[0] if plain else "1", text)
    return Lora(file=file, scale=scale, text_encoder_scale=_number(of_text[0], text) if of_text else None, fused=fused)


def _number(said: str, text: str) -> float:
    try:
        number = float(said or "1")
    except ValueError:
        number = float("nan")
    if not LOWEST <= number <= HIGHEST:
        raise ParameterError(breaks_rule("lora", f"a file with a weight in [{LOWEST:g}, {HIGHEST:g}]", text, "Try 0.8."))
    return number


def _way_out(file: str) -> str:
    if Path(file).suffix.lower() in PICKLES:
        return "A pickle can run code and is not read. Convert it to .safetensors."
    if file.startswith(("http://", "https://")):
        return "Fetch the file and give its path, or name one on the hub: ORG/NAME/FILE.safetensors."
    return "Write FILE.safetensors:0.8, or ORG/NAME for one on the hub; several are joined by ' + '."


def _is_repository(file: str) -> bool:
    return bool(_HUB_ID.fullmatch(file)) and Path(file).suffix.lower() not in (".safetensors", *PICKLES)


def _is_ambiguous(file: str) -> bool:
    return JOINT in file or bool(_split(file)[1])


def require_library() -> None:
    """Raise `ParameterError` where peft, which adds LoRA to models, is not installed."""
    if find_spec("peft") is None:
        way_out = 'Run `pip install "nbdiffuse[lora]"`, or leave `lora` out.'
        raise ParameterError(f"`lora` needs peft, and it is not installed. {way_out}")


def unfused(loras: Sequence[Lora]) -> tuple[tuple[int, Lora], ...]:
    """Return those that stay beside the weights, each with its number among all, counted from 1."""
    return tuple((number, one) for number, one in enumerate(loras, start=1) if one.fused is False)


def text_of(loras: Sequence[Lora]) -> str:
    """Return several LoRA as one text, which `read` takes apart."""
    return JOINT.join(map(str, loras))


def joined_text(checkpoint: str, loras: Sequence[Lora]) -> str:
    """Return one text that names a checkpoint with its LoRA; `split_text` splits it again."""
    shown = f'"{checkpoint}"' if JOINT in checkpoint else checkpoint
    return JOINT.join([shown, *map(str, loras)])


def split_text(text: str) -> tuple[str, tuple[Lora, ...]]:
    """Split such a text into the checkpoint's name and its LoRA; a path that exists is a checkpoint as it is."""
    quoted = re.match(r'"([^"]+)"(?: \+ |$)', text)
    if quoted:
        rest = text[quoted.end() :]
        return quoted[1], read(rest) if rest else ()
    checkpoint, joint, rest = text.partition(JOINT)
    return (checkpoint, read(rest)) if joint and not _on_disk(text) else (text, ())

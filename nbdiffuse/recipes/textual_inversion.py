"""Textual inversions: files with vectors for new words of a prompt, written as `FILE` or `FILE:TOKEN`.

Source: Gal et al., "An Image is Worth One Word", 2022.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import ClassVar

from ..errors import ParameterError, breaks_rule
from ..families.parameters import Param
from ..files.paths import here
from .lora import JOINT
from .parts import Part, declared_in_part

SUFFIXES = (".safetensors", ".pt", ".bin")
_HUB_ID = re.compile(r"(?:https://huggingface\.co/)?[\w-][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
_TOKEN = re.compile(r"[^\s:,|{}=]{1,100}")


@dataclass(frozen=True, kw_only=True)
class TextualInversion(Part):
    """A textual inversion: a word that prompts may use; written `FILE:TOKEN`, such as "bad-hands-5.pt".

    Parameters
    ----------
    file
        A .safetensors, .pt or .bin file, a folder with one, one in a hub repository, or a repository that holds
        one; pickled ones are read by torch's weights-only loader, which runs no code.
    token
        The word that prompts call it by. Where it is not said: the one that diffusers wrote into the
        file, else the file's own name, as AUTOMATIC1111 has it.

    Raises
    ------
    ParameterError
        It names no such file, or the word has blanks or signs that prompts use.
    """

    TITLE: ClassVar[str] = "embedding"
    NOTATION: ClassVar[str] = "embedding"
    FORM: ClassVar[str] = "textual inversion that prompts call by its word: FILE or FILE:TOKEN"

    file: str = declared_in_part("embedding_file", Param(str, "textual inversion file"), "")
    token: str | None = declared_in_part("embedding_token", Param(str, "word that prompts call the textual inversion by"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            rule = "a word without blanks, commas, colons and braces"
            raise ParameterError(breaks_rule("embedding_token", rule, self.token, "Try <my-word>."))

    @classmethod
    def from_text(cls, text: str) -> TextualInversion:
        """Read `FILE` or `FILE:TOKEN`."""
        file, token = (text, "") if here(text) is not None else _split(text)
        if not _is_file(file):
            way_out = "Write FILE.safetensors or FILE.pt, or ORG/NAME for one on the hub; :TOKEN behind it names its word."
            raise ParameterError(breaks_rule("embedding", "a textual inversion file", text, way_out))
        return cls(file=file, token=token or None)

    @classmethod
    def several(cls, text: str) -> tuple[TextualInversion, ...]:
        """Read one or several, joined by " + "."""
        return (cls.from_text(text),) if here(text) is not None else tuple(map(cls.from_text, text.split(JOINT)))

    @property
    def empty(self) -> bool:
        """Whether it has no file."""
        return not self.file

    @property
    def stem(self) -> str:
        """The file's or the repository's name without its suffix."""
        name = PureWindowsPath(self.file.partition("@")[0]).name
        return PurePosixPath(name).stem if name.endswith(SUFFIXES) else name

    def __str__(self) -> str:
        return self.file if self.token is None else f"{self.file}:{self.token}"


def _split(text: str) -> tuple[str, str]:
    file, colon, token = text.rpartition(":")
    # In C:\hands.pt the colon is the drive's.
    if not colon or "/" in token or "\\" in token or token.lower().endswith(SUFFIXES):
        return text, ""
    return file, token


def _is_file(file: str) -> bool:
    path = here(file)
    return file.lower().endswith(SUFFIXES) or bool(_HUB_ID.fullmatch(file)) or (path is not None and path.is_dir())

"""Where a preset's weights come from: the small checkpoint in this package, or the original on the hub."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import ParameterError, did_you_mean
from ..families.published import PUBLISHED, access, gigabytes

SOURCES = ("embedded", "hub")
"""What a preset's name may stand for."""
VARIABLE = "NBDIFFUSE_USE"
"""Environment variable that chooses one of `SOURCES` for a whole process."""

_chosen: str | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """One set of weights of a preset.

    Parameters
    ----------
    checkpoint
        A name of the embedded family, or a hub id.
    native_size
        Longer side, in pixels, that it was trained for; larger initial pictures
        are scaled down to it unless width or height is given.
    size_multiple
        Both sides of what it is given are multiples of this, in pixels.
    licence
        As its publisher states it.
    """

    checkpoint: str
    native_size: int
    size_multiple: int = 8
    licence: str = "Apache-2.0"

    @classmethod
    def published(cls, repo: str, size_multiple: int = 8) -> WeightsSource:
        """Return a checkpoint of the hub that `published.PUBLISHED` knows."""
        known = PUBLISHED[repo]
        return cls(checkpoint=repo, native_size=known.native_size, size_multiple=size_multiple, licence=known.licence)

    @property
    def download(self) -> str:
        """Size of what a run fetches where there is a choice of half precision, such as "about 33.7 GB"; "" for what is here."""
        known = PUBLISHED.get(self.checkpoint)
        return gigabytes(min(known.downloads)) if known else ""

    @property
    def memory(self) -> str:
        """Memory that holds its largest model in half precision and a run, such as "about 26 GB"; "" for what is small."""
        known = PUBLISHED.get(self.checkpoint)
        return gigabytes(known.memory) if known else ""

    @property
    def access(self) -> str:
        """How a person gets it where the hub asks for that; "" where it does not."""
        return access(self.checkpoint)


def use(source: str | None) -> None:
    """Choose what preset names stand for, in this process.

    Parameters
    ----------
    source
        "embedded", the checkpoints in this package; "hub", the originals; None goes back to the default.

    Raises
    ------
    ParameterError
        It is neither.
    """
    global _chosen
    _chosen = None if source is None else _checked("use", source)


def source() -> str:
    """Return what preset names stand for: what was chosen, else "hub" where there is a GPU and "embedded" where there is none."""
    asked = os.environ.get(VARIABLE)
    return _chosen or (_checked(VARIABLE, asked) if asked else "hub" if has_gpu() else "embedded")


def _checked(name: str, value: str) -> str:
    if value not in SOURCES:
        raise ParameterError(f"`{name}` must be one of {', '.join(SOURCES)}, got {value!r}. {did_you_mean(value, SOURCES)}")
    return value


def has_gpu() -> bool:
    """Whether torch can use a GPU here."""
    # torch takes a second to import, so it is asked only where there may be one, or where it is there already.
    if "torch" not in sys.modules and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available()

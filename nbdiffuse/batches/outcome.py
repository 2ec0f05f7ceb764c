"""Outcome: what came of a row, without its pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import NbdiffuseError
from ..images.contact_sheets import enlarged
from ..metadata import image_files
from ..metadata.provenance import Provenance
from ..recipes.recipe import Recipe
from ..store.store import predictable

THUMBNAIL = 160
"""Longer side of the picture that a page shows of what a result was made from, in pixels."""


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Parameters
    ----------
    state
        "made" in this run, "kept" from an earlier one, or "failed".
    seconds
        Wall time of its run, in seconds; None where it was not run.
    size
        Width and height of the result, in pixels.
    steps
        Steps that its model ran.
    error
        Why it failed.
    notices
        Lines that a person should read.
    before
        A small JPEG of the initial picture; empty without one.
    prompt
        As it was run, all that it names filled in; empty where it was not.
    """

    state: str
    seconds: float | None = None
    size: tuple[int, int] | None = None
    steps: int = 0
    error: NbdiffuseError | None = None
    notices: tuple[str, ...] = ()
    before: bytes = b""
    prompt: str = ""


def thumbnail(image: Image.Image | None) -> bytes:
    """Return a small JPEG of an RGB picture; nothing for None."""
    if image is None:
        return b""
    buffer = io.BytesIO()
    (enlarged(image, THUMBNAIL) if max(image.size) > THUMBNAIL else image).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def is_result_of(file: Path, complete: Recipe, fingerprint: Mapping[str, str]) -> bool:
    """Tell whether a file has the result of a complete recipe, as it would come out now.

    Parameters
    ----------
    file
        Need not be there.
    complete
        The recipe.
    fingerprint
        What else can change the pixels.
    """
    try:
        found = image_files.read(file).provenance
    except NbdiffuseError:
        return False
    expected = Provenance(complete, predictable(fingerprint)).to_share()
    return (
        found is not None
        and found.recipe.digest == expected.recipe.digest
        and predictable(found.fingerprint) == dict(expected.fingerprint)
    )

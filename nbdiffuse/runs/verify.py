"""Verification: pictures are made again from their recipes, and compared."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import FileError, Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.paths import path_of
from ..images.picture import Picture
from ..metadata.image_files import SUFFIXES
from ..metadata.imported import visible
from ..metadata.provenance import Provenance
from ..results import Result
from ..sessions.session import get_session
from ..store.compare import Distance, changed, distance
from ..store.index import PictureIndex
from .chain_run import ChainRun
from .replay import Source, again, allowed, as_made, chain_of, is_claim, traced

IDENTICAL, TOLERABLE, DIFFERENT, UNKNOWN = "identical", "within tolerance", "different", "not verified"
LARGEST, MEAN = 8, 0.5
"""Differences that other hardware and other versions make without anybody seeing them, of 255."""
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Verdict:
    """The outcome of making one picture again.

    Parameters
    ----------
    name
        Of the file or variable.
    state
        `IDENTICAL`, `TOLERABLE`, `DIFFERENT` or `UNKNOWN`.
    distance
        Between the picture and the new one; None where it was not made or has another size.
    changed
        Name, value then and value now of each part of the fingerprint that differs.
    reason
        Why it was not verified.
    """

    name: str
    state: str
    distance: Distance | None = None
    changed: tuple[tuple[str, str, str], ...] = ()
    reason: str = ""

    def __repr__(self) -> str:
        return visible(" | ".join([f"{self.name}: {self.state}", *self.details]))

    @property
    def details(self) -> tuple[str, ...]:
        """Lines that say more than the state."""
        apart = [str(self.distance)] if self.distance and self.distance.largest else []
        since = [f"{name} was {then}, is {now}" for name, then, now in self.changed]
        return (*([self.reason] if self.reason else []), *apart, *since)


class Verification(tuple[Verdict, ...]):
    """Verdicts, in the order in which they were asked for."""

    @property
    def summary(self) -> str:
        """How many there are of each kind."""
        counts = (
            (state, sum(verdict.state == state for verdict in self)) for state in (IDENTICAL, TOLERABLE, DIFFERENT, UNKNOWN)
        )
        return ", ".join(f"{count} {state}" for state, count in counts if count) or "nothing to verify"

    def __repr__(self) -> str:
        return "\n".join([*map(repr, self), *([self.summary] if len(self) > 1 else [])])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts, in the colours of the page it stands in."""
        rows = "".join(f"<tr>{_cells(verdict)}</tr>" for verdict in self)
        foot = f"<div>{html.escape(self.summary)}</div>" if len(self) != 1 else ""
        return f"<div style='overflow-x:auto'><table style='border-collapse:collapse'>{rows}</table>{foot}</div>"


_CELL = (
    "text-align:left;vertical-align:top;padding:.2em .7em;background:none;border:0;border-bottom:1px solid rgba(128,128,128,.3)"
)
_SIGNS = {IDENTICAL: "=", TOLERABLE: "≈", DIFFERENT: "≠", UNKNOWN: "?"}


def _cells(verdict: Verdict) -> str:
    details = "<br>".join(html.escape(visible(line)) for line in verdict.details)
    cells = (html.escape(visible(verdict.name)), f"{_SIGNS[verdict.state]} {verdict.state}", details)
    return "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells)


def verify(
    *sources: Source | Path,
    on_progress: Callable[[int, int, str], None] = lambda done, total, name: None,
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
    names: Sequence[str] = (),
    yes: bool = False,
) -> Verification:
    """Make pictures again and tell whether they come out the same.

    Parameters
    ----------
    *sources
        Results, chains' runs, files that nbdiffuse saved, or folders of them.
    on_progress
        Called before each with how many are done, of how many, and its name.
    on_verdict
        Called after each.
    names
        What results among the sources are called, one for each source; their kind of run when not given.
    yes
        Whether weights that files name may be fetched from the hub, or read from a local path. Without it a
        file that needs them is not verified, and its reason says what it needs and how large that is.

    Returns
    -------
    Verification
        A verdict for each picture. A JPEG is compared after the same compression. A picture that
        cannot be made again has the reason in place of a distance.

    Raises
    ------
    ParameterError
        A source is none of these.
    FileError
        A folder cannot be read.
    Interrupted
        It was stopped; `on_verdict` had those that were finished.
    """
    called = [*names, *[""] * (len(sources) - len(names))]
    items = [item for name, source in zip(called, sources, strict=False) for item in _items(source, name)]
    verdicts = []
    for number, (name, item) in enumerate(items):
        on_progress(number, len(items), name)
        verdicts.append(_verdict(name, item, yes))
        on_verdict(verdicts[-1])
    return Verification(verdicts)


def _items(source: Source | Path, name: str) -> Sequence[tuple[str, Source]]:
    if isinstance(source, (Result, ChainRun)):
        return [(name or repr(source), source)]
    if isinstance(source, Provenance) or not isinstance(source, (str, os.PathLike)):
        raise ParameterError(breaks_rule("verify", "results, files or folders", source))
    path = path_of(source)
    if not os.path.isdir(path):
        return [(path.name, path)]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    except OSError as error:
        raise FileError(f"The folder {visible(str(path))} cannot be read: {error.strerror}.") from None
    return [(file.name, file) for file in files]


def _verdict(name: str, source: Source, yes: bool) -> Verdict:
    try:
        provenance, picture_index = traced(source)
        if provenance.partial is not None:
            return Verdict(name, UNKNOWN, reason=f"The run was stopped after {provenance.partial} steps.")
        return _compared(name, source, provenance, picture_index, yes)
    except Interrupted:
        raise
    except NbdiffuseError as error:
        return Verdict(name, UNKNOWN, reason=str(error))


def _compared(name: str, source: Source, provenance: Provenance, picture_index: PictureIndex, yes: bool) -> Verdict:
    before, steps = _image(source), chain_of(provenance)
    # A check is nothing that was made: it leaves the history as it was.
    with allowed(steps.steps if is_claim(source) else (), yes), get_session().unrecorded():
        made = again(as_made(steps, picture_index), picture_index)[-1]
    now = made.image
    if isinstance(source, Path) and source.suffix.lower() in (".jpg", ".jpeg"):
        now = _compressed(now)
    apart = distance(before, now)
    then = source.shown_fingerprint if isinstance(source, Result) else provenance.fingerprint
    since = changed(then, made.fingerprint) if then else ()
    if apart is None:
        return Verdict(name, DIFFERENT, None, since, f"It is {before.width}x{before.height}, and {now.width}x{now.height} now.")
    if apart.largest == 0:
        return Verdict(name, IDENTICAL, apart, since)
    near = apart.largest <= LARGEST and apart.mean <= MEAN
    return Verdict(name, TOLERABLE if near else DIFFERENT, apart, since)


def _image(source: Source) -> Image.Image:
    return source.image if isinstance(source, (Result, ChainRun)) else Picture.of(source).image


def _compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return Image.open(buffer).convert("RGB")

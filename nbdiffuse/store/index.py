"""Picture index: finds how a picture was made, by its pixels, in this session, in the store and in files."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..errors import FileError, NbdiffuseError
from ..files.paths import path_of
from ..images.masks import as_mask
from ..images.picture import Picture, content_address
from ..metadata.image_files import SUFFIXES, read
from ..metadata.provenance import Provenance
from .store import Store

SESSION, STORE, READ = "this session", "the store", "a file that was read"
_MOST_FILES = 500
"""Pictures of a folder that are looked at, the newest first."""


class Remembered(Protocol):
    """A result, for what is found of it here."""

    @property
    def image(self) -> Image.Image: ...
    @property
    def provenance(self) -> Provenance: ...
    @property
    def seconds(self) -> float: ...
    @property
    def run_notices(self) -> tuple[str, ...]: ...
    @property
    def when(self) -> float: ...
    @property
    def claimed_fingerprint(self) -> Mapping[str, str] | None: ...
    @property
    def problem(self) -> Exception | None: ...


@dataclass(frozen=True, eq=False)
class Made:
    """A picture, and how it was made.

    Parameters
    ----------
    image
        RGB.
    provenance
        How.
    where
        Where that is written: `SESSION`, `STORE`, or the name of a file.
    """

    image: Image.Image
    provenance: Provenance
    where: str

    @property
    def is_claim(self) -> bool:
        """Whether a file says so, which somebody else may have written."""
        return self.where not in (SESSION, STORE)


_remembered: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def remember(result: Remembered) -> None:
    """Let a result be found by its pixels for as long as somebody holds it."""
    _remembered[result] = ""


def keep(result: Remembered, store: Store | None = None) -> str | None:
    """Put a finished result into the store, so that other kernels know it too; return a line when that failed.

    One that a safety checker made black is none.
    """
    if result.problem is not None:
        return None
    try:
        (store or Store()).put(result.image, result.provenance, result.seconds, result.run_notices)
    except FileError as error:
        return str(error)
    return None


class PictureIndex:
    """Look for pictures and their making; one picture index reads the store's index and each folder at most once.

    Parameters
    ----------
    store
        This user's when not given.
    folders
        Folders whose pictures are looked at, without those in folders inside them.
    """

    def __init__(self, store: Store | None = None, folders: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.store = store or Store()
        self._folders = tuple(map(path_of, folders))

    def made(self, address: str) -> Made | None:
        """Return how the picture with a content address was made, or None where nothing tells."""
        return self._in_session(address) or self._in_store(address) or self._in_files(address)

    def picture(self, address: str) -> Picture | None:
        """Return the picture with a content address, or None where its pixels are nowhere."""
        known = Picture(address)
        if known.at_hand:
            return known
        given = self.store.given(address)
        if given is not None:
            return given
        found = self._in_session(address) or self._in_store(address)
        if found is not None:
            return Picture.of(found.image, found.where)
        file = self._files.get(address)
        return None if file is None else _known_by(address, Picture.of(file))

    def _in_session(self, address: str) -> Made | None:
        found = [result for result in list(_remembered) if _address(result) == address]
        if not found:
            return None
        # A step that is known to belong to a chain says more than the same step alone.
        best: Remembered = max(
            found, key=lambda result: (result.claimed_fingerprint is None, result.provenance.chain is not None, result.when)
        )
        return Made(best.image, best.provenance, SESSION if best.claimed_fingerprint is None else READ)

    def _in_store(self, address: str) -> Made | None:
        # The newest first: those of one picture differ in nothing but what their pictures are called.
        for entry in reversed(self._entries.get(address, [])):
            loaded = self.store.load(entry)
            if loaded is not None:
                return Made(loaded[0].image, loaded[1], STORE)
        return None

    def _in_files(self, address: str) -> Made | None:
        file = self._files.get(address)
        try:
            provenance = None if file is None else read(file).provenance
        except NbdiffuseError:
            provenance = None
        if file is None or provenance is None:
            return None
        return Made(Picture.of(file).image, provenance, file.name)

    @cached_property
    def _entries(self) -> dict[str, list[dict[str, Any]]]:
        by_picture: dict[str, list[dict[str, Any]]] = {}
        for entry in self.store.entries():
            by_picture.setdefault(str(entry.get("picture")), []).append(entry)
        return by_picture

    @cached_property
    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for file in self._candidates():
            try:
                picture = Picture.of(file)
                found.setdefault(picture.address, file)
                if picture.painted is not None:
                    found.setdefault(as_mask(picture).address, file)
            except NbdiffuseError:
                continue
        return found

    def _candidates(self) -> Iterator[Path]:
        for folder in self._folders:
            try:
                files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
                files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
            except OSError:
                continue
            yield from files[:_MOST_FILES]


def _known_by(address: str, picture: Picture) -> Picture:
    """Return a file's picture as the address means it: as it looks, or as the mask that a transparent layer stands for."""
    return dataclasses.replace(picture, painted=None) if picture.address == address else as_mask(picture)


def _address(result: Any) -> str:
    """Return the content address of a result's first picture, computed once."""
    known = _remembered.get(result)
    if not known:
        image = result.image
        known = content_address(image) if image.mode == "RGB" else "none"
        _remembered[result] = known
    return known

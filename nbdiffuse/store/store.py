"""Finished images on disk, found again by what made them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FileError, NbdiffuseError
from ..files.atomic import write_atomic
from ..files.folders import cache_folder
from ..files.paths import path_of
from ..images.picture import Picture, content_address
from ..images.reader import PILLOW_LIMIT
from ..metadata.provenance import Provenance
from ..recipes.chain import Chain
from ..recipes.format_1 import digest_of_format_1
from ..recipes.recipe import Recipe
from .entries import Kept, packed, unpacked

LIMIT = 2_000_000_000
"""Largest size of a store, in bytes."""
BATCH = "batch"
"""Part of a fingerprint: the rows of the largest model call that a run shared with others, which can change last bits."""
_ABANDONED = 3600
"""Seconds after which a temporary file belongs to nobody."""


def predictable(fingerprint: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a fingerprint that is known before a run: all but how many shared the run."""
    return {name: value for name, value in fingerprint.items() if name != BATCH}


def store_key(recipe: Recipe, fingerprint: Mapping[str, str], chain: Chain | None = None) -> str:
    """Return what an image is stored under.

    Parameters
    ----------
    recipe
        Complete.
    fingerprint
        What else can change the pixels, by name.
    chain
        What it is the last step of: latents may have been handed over, so the recipe
        alone would give other pixels.

    Returns
    -------
    str
        sha256 of the recipe's digest, the fingerprint and the chain, in hexadecimal.
    """
    return _key(recipe.digest, fingerprint, *([chain.to_dict()] if chain else []))


def _key(digest: str, fingerprint: Mapping[str, str], *chain: Any) -> str:
    text = json.dumps([digest, sorted(predictable(fingerprint).items()), *chain], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _keys(recipe: Recipe, fingerprint: Mapping[str, str]) -> tuple[str, ...]:
    """Return what an image may be stored under: now, and by versions that wrote recipes of format 1."""
    earlier = digest_of_format_1(recipe)
    return (store_key(recipe, fingerprint), *([_key(earlier, fingerprint)] if earlier else []))


class Store:
    """A folder of finished images; any number of processes may share it.

    Each file is a PNG with its provenance inside and a checksum after its end.
    Damaged files are as good as absent. Past the limit, those unused for longest go.

    Parameters
    ----------
    folder
        Made with the first image; `cache_folder()` when not given.
    limit
        Largest size of all images together, in bytes, at least 0.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit: int = LIMIT) -> None:
        self.folder = cache_folder() if folder is None else path_of(folder, "folder")
        self.limit = limit
        self._size: int | None = None

    def path(self, recipe: Recipe, fingerprint: Mapping[str, str]) -> Path:
        """Return the file in which an image is or would be."""
        return self._file(store_key(recipe, fingerprint))

    def _file(self, key: str) -> Path:
        return self.folder / "images" / key[:2] / f"{key}.png"

    def get(self, recipe: Recipe, fingerprint: Mapping[str, str]) -> Kept | None:
        """Return a finished image, or None when it is not there or damaged."""
        for key in _keys(recipe, fingerprint):
            file = self._file(key)
            try:
                kept, provenance = unpacked(file.read_bytes())
            except (OSError, NbdiffuseError):
                continue
            if key not in _keys(provenance.recipe, provenance.fingerprint):
                continue
            with contextlib.suppress(OSError):
                os.utime(file)
            return kept
        return None

    def put(self, image: Image.Image, provenance: Provenance, seconds: float, notices: tuple[str, ...] = ()) -> None:
        """Keep a finished image, and the pictures that its run started from.

        Parameters
        ----------
        image
            RGB, any size.
        provenance
            With the complete recipe and the fingerprint that it is found by.
        seconds, notices
            See `Kept`.

        Raises
        ------
        FileError
            It cannot be written; what the store held before is still there.
        """
        key = store_key(provenance.recipe, provenance.fingerprint, provenance.chain)
        file, content = self._file(key), packed(image, provenance, seconds, notices)
        facts = {"time": round(time.time(), 3), "picture": content_address(image), "recipe": provenance.recipe.to_dict()}
        try:
            added = self._put_given(provenance)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, content)
            # After the file: the index names nothing that is not there.
            self._note({"key": key, "bytes": len(content), **facts})
            self._make_room(len(content) + added)
        except OSError as error:
            raise FileError(
                f"The store {self.folder} cannot be written: {error.strerror or error}. Set NBDIFFUSE_CACHE."
            ) from None

    def _put_given(self, provenance: Provenance) -> int:
        """Keep the pictures that a run started from, where their pixels are at hand; return the bytes that were added."""
        added = 0
        for recipe in (provenance.recipe, *(provenance.chain or ())):
            for picture in recipe.pictures.values():
                file = self._given(picture.address)
                if isinstance(picture, Picture) and picture.at_hand and not file.exists():
                    buffer = io.BytesIO()
                    picture.image.save(buffer, "PNG", compress_level=1)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(file, buffer.getvalue())
                    added += len(buffer.getvalue())
        return added

    def _given(self, address: str) -> Path:
        digits = address.rpartition(":")[2]
        return self.folder / "pictures" / digits[:2] / f"{digits}.png"

    def given(self, address: str) -> Picture | None:
        """Return a picture that a run started from, by its content address, or None when it is not there or damaged."""
        try:
            picture = Picture.of(self._given(address), "", max_pixels=PILLOW_LIMIT)
        except (OSError, NbdiffuseError):
            return None
        return picture if picture.address == address else None

    def load(self, entry: Mapping[str, Any]) -> tuple[Kept, Provenance] | None:
        """Return what an entry of the index stands for, or None when it is gone, damaged, or not what the index says."""
        try:
            key = str(entry["key"])
            kept, provenance = unpacked(self._file(key).read_bytes())
        except (OSError, ValueError, KeyError, NbdiffuseError):
            return None
        held = store_key(provenance.recipe, provenance.fingerprint, provenance.chain), content_address(kept.image)
        return (kept, provenance) if held == (key, entry.get("picture", held[1])) else None

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield what the index says of each image that is there whole, oldest first."""
        noted: dict[str, dict[str, Any]] = {}
        try:
            lines = (self.folder / "index.jsonl").read_bytes().split(b"\n")
        except OSError:
            return
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                noted.pop(entry["key"], None)
                if "gone" not in entry:
                    noted[entry["key"]] = entry
        for key, entry in noted.items():
            with contextlib.suppress(OSError):
                if re.fullmatch("[0-9a-f]{64}", str(key)) and self._file(key).stat().st_size == entry.get("bytes"):
                    yield entry

    def remember(self, name: str, text: str) -> None:
        """Keep a short text about unfinished work; that it cannot be written is no failure.

        Parameters
        ----------
        name
            Hexadecimal digits.
        text
            At most a line.
        """
        with contextlib.suppress(OSError):
            (self.folder / "unfinished").mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / "unfinished" / name, text.encode())

    def recall(self, name: str) -> str | None:
        """Return what `remember` kept, or None."""
        try:
            return (self.folder / "unfinished" / name).read_text()
        except (OSError, ValueError):
            return None

    def forget(self, name: str) -> None:
        """Take away what `remember` kept."""
        with contextlib.suppress(OSError):
            (self.folder / "unfinished" / name).unlink()

    def _note(self, entry: dict[str, Any]) -> None:
        # One write on an append-only handle, and a line break before it: a torn line harms no other.
        handle = os.open(self.folder / "index.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, b"\n" + json.dumps(entry, sort_keys=True).encode() + b"\n")
        finally:
            os.close(handle)

    def _make_room(self, added: int) -> None:
        if self._size is not None:
            self._size += added
        if self._size is not None and self._size <= self.limit:
            return
        # What other processes added counts from here on.
        files = sorted(self._files(), key=lambda each: each[1])
        self._size = sum(size for _, _, size in files)
        if self._size <= self.limit:
            return
        for file, _, size in files:
            # A little more than needed, so that a full store is not searched for each image.
            if self._size <= 0.9 * self.limit:
                break
            self._note({"key": file.stem, "gone": True})
            file.unlink(missing_ok=True)
            self._size -= size

    def _files(self) -> Iterator[tuple[Path, float, int]]:
        for file in itertools.chain((self.folder / "images").glob("*/*"), (self.folder / "pictures").glob("*/*")):
            with contextlib.suppress(FileNotFoundError):
                facts = file.stat()
                if file.suffix == ".png":
                    yield file, facts.st_mtime, facts.st_size
                elif time.time() - facts.st_mtime > _ABANDONED:
                    file.unlink()

"""Sources: where the pictures of a batch are, without reading one before its turn."""

from __future__ import annotations

import glob
import os
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..errors import FileError, ImageInputError, ParameterError, breaks_rule
from ..files.paths import path_of
from ..images.picture import Picture
from ..images.reader import open_header

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"})
"""What the files of a folder or an archive end in that are taken for pictures; others are left alone."""
LARGEST_MEMBER = 1_000_000_000
"""Bytes that a picture in an archive may have when it is unpacked."""


class Source(Protocol):
    """A picture that can be read when its turn comes."""

    @property
    def name(self) -> str:
        """What it is called, with "/" between folders."""

    def read(self) -> Picture:
        """Read it.

        Raises
        ------
        ImageInputError
            It is no picture, or not one that can be taken in whole.
        """

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height as its header says, in pixels; None where that cannot be told without reading it."""


@dataclass(frozen=True)
class FileSource:
    """A picture in a file of its own."""

    path: Path
    name: str

    def read(self) -> Picture:
        """See `Source`."""
        return Picture.of(self.path, self.name)

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Source`."""
        try:
            with open_header(self.path) as header:
                size: tuple[int, int] = header.size
                turned = header.getexif().get(0x0112, 1) > 4
        except Exception:  # whatever a broken file makes Pillow raise; it is named when its turn comes
            return None
        return size[::-1] if turned else size


@dataclass(frozen=True)
class MemberSource:
    """A picture in an archive."""

    archive: Path
    name: str

    def read(self) -> Picture:
        """See `Source`."""
        try:
            with zipfile.ZipFile(self.archive) as opened:
                if opened.getinfo(self.name).file_size > LARGEST_MEMBER:
                    raise ImageInputError(breaks_rule("image", f"at most {LARGEST_MEMBER:,} bytes when unpacked", self.name))
                content = opened.read(self.name)
        except (OSError, zipfile.BadZipFile, RuntimeError, KeyError, NotImplementedError, EOFError) as error:
            raise ImageInputError(
                breaks_rule("image", f"a picture that {self.archive.name} gives", self.name, f"{error}")
            ) from None
        return Picture.of(content, self.name)

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Source`."""
        return None


@dataclass(frozen=True)
class HeldSource:
    """A picture that somebody holds."""

    picture: Any
    name: str

    def read(self) -> Picture:
        """See `Source`."""
        return Picture.of(self.picture, self.name)

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Source`."""
        return self.picture.size if isinstance(self.picture, (Image.Image, Picture)) else None


def is_several(word: str) -> bool:
    """Tell whether a word names several pictures: a folder, an archive, or a pattern such as "shots/*.png" that is no file."""
    try:
        path = path_of(word, "image")
        return path.is_dir() or path.suffix.lower() == ".zip" or (not path.exists() and glob.has_magic(word))
    except (FileError, OSError, ValueError):
        return False


def sources_of(images: Any) -> tuple[list[Source], tuple[str, ...]]:
    """Find the pictures that are meant; none is read.

    Parameters
    ----------
    images
        A folder, whose own files are taken; an archive (.zip); a pattern such as "shots/*.png" or
        "shots/**/*.png"; or a list of pictures and paths.

    Returns
    -------
    sources : list of Source
        In the order of their names.
    notices : tuple of str
        What was left alone.

    Raises
    ------
    ParameterError
        There is none.
    """
    if isinstance(images, (str, os.PathLike)):
        text = os.fspath(images)
        found, left = _of_word(text)
        if not found:
            kinds = ", ".join(sorted(SUFFIXES))
            raise ParameterError(breaks_rule("images", f"where pictures are ({kinds})", text, "There is none."))
        return found, left
    if not isinstance(images, Iterable) or isinstance(images, (bytes, dict)):
        way_out = "Name a folder, a pattern such as 'shots/*.png', or a list."
        raise ParameterError(breaks_rule("images", "a folder, a pattern, a .zip or a list of pictures", images, way_out))
    listed = [_of_item(item, place) for place, item in enumerate(images, 1)]
    if not listed:
        raise ParameterError(breaks_rule("images", "at least one picture", [], "Fill the list."))
    return listed, ()


def _of_word(text: str) -> tuple[list[Source], tuple[str, ...]]:
    path = path_of(text, "images")
    if path.is_dir():
        return _chosen([(entry.name, Path(entry.path)) for entry in os.scandir(path) if entry.is_file()])
    if path.is_file() and path.suffix.lower() == ".zip":
        return _of_archive(path)
    if path.is_file():
        return [FileSource(path, path.name)], ()
    if not glob.has_magic(text):
        raise ParameterError(breaks_rule("images", "a folder, a file or a pattern that is there", text, "Check the spelling."))
    matched = [Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file()]
    root = _common_root(matched)
    return _chosen([(one.relative_to(root).as_posix(), one) for one in matched])


def _common_root(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([one.parent for one in paths])) if paths else Path()


def _chosen(files: Sequence[tuple[str, Path]]) -> tuple[list[Source], tuple[str, ...]]:
    wanted = [(name, path) for name, path in sorted(files) if _is_picture(name)]
    return [FileSource(path, name) for name, path in wanted], _left_alone([name for name, _ in files if not _is_picture(name)])


def _of_archive(path: Path) -> tuple[list[Source], tuple[str, ...]]:
    try:
        with zipfile.ZipFile(path) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ParameterError(breaks_rule("images", "an archive that can be read", path.name, f"{error}.")) from None
    names = sorted({info.filename for info in infos if not info.filename.startswith("__MACOSX/")})
    return [MemberSource(path, name) for name in names if _is_picture(name)], _left_alone(
        [name for name in names if not _is_picture(name)]
    )


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")


def _left_alone(names: Iterable[str]) -> tuple[str, ...]:
    others = sorted(name for name in names if not Path(name).name.startswith("."))
    if not others:
        return ()
    shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
    return (f"{len(others)} file{'s are' if len(others) > 1 else ' is'} left alone, by the name no picture: {shown}",)


def _of_item(item: Any, place: int) -> Source:
    if isinstance(item, (str, os.PathLike)) and not str(item).startswith(("sha256:", "example:")):
        path = path_of(item, "images")
        return FileSource(path, path.name)
    held = getattr(item, "image", item)  # a result's picture
    label = held.label if isinstance(held, Picture) else ""
    return HeldSource(item if isinstance(item, (str, Picture)) else held, label or f"{place:04d}")

"""Targets: the files and folders that a person names to be written, checked before there is anything to write."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import FileError, breaks_rule
from .paths import path_of


def check_file(path: str | os.PathLike[str], suffixes: Iterable[str], field: str = "save") -> Path:
    """Say why a file cannot be written; nothing is made.

    Parameters
    ----------
    path
        As it was given; `~` is the home folder. The folders above it need not be there.
    suffixes
        What its name may end in, with the point; capitals do not matter.
    field
        What an error calls it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileError
        The suffix is another one, a folder is in the file's place, a file in a folder's, or nothing can be written there.
    """
    known = tuple(suffixes)
    if Path(path).suffix.lower() not in known:
        raise FileError(
            breaks_rule(
                field,
                f"a file name that ends in {' or '.join(filter(None, (', '.join(known[:-1]), known[-1])))}",
                os.fspath(path),
            )
        )
    target = _expanded(path)
    if _exists(target) and target.is_dir():
        raise _refusal(path, f"it is a folder. Write a file in it, such as {shown_path(Path(path) / ('result' + known[0]))}.")
    _check_writable(path, target.parent)
    return target


def check_folder(path: str | os.PathLike[str]) -> Path:
    """Say why files cannot be written into a folder, which need not be there; nothing is made.

    Raises
    ------
    FileError
        A file is in its place, or nothing can be written there.
    """
    target = _expanded(path)
    _check_writable(path, target)
    return target


def made_folder(path: str | os.PathLike[str]) -> Path:
    """Return a folder that can be written into, made with those above it where it is not there.

    Raises
    ------
    FileError
        See `check_folder`.
    """
    target = check_folder(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(path, f"{error.strerror or error}.") from None
    return target


def shown_path(path: object) -> str:
    """Return a path as errors show it, whatever is in its name."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _refusal(path: object, cause: str) -> FileError:
    return FileError(f"{shown_path(os.fspath(path) if isinstance(path, os.PathLike) else path)} cannot be written: {cause}")


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return path_of(path, "save")
    except FileError as error:
        raise _refusal(path, str(error)) from None


def _exists(target: Path) -> bool:
    """Whether something is there; a name that no file can have is refused."""
    try:
        os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise _refusal(target, f"{error.strerror}.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refusal(target, f"{str(reason).lower()}. Choose another name.") from None
    return True


def _check_writable(path: object, folder: Path) -> None:
    """Try a file in the lowest folder that is there: permissions alone do not tell of a read-only disk."""
    there = folder
    while not _exists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise _refusal(path, f"{shown_path(there)} is a file, and a folder is needed there. Choose another place.")
    new = folder.parts[len(there.parts) :]
    if not all(part.isprintable() for part in new):
        raise _refusal(path, f"no folder {'/'.join(new)!r} is made, whose name cannot be shown. Choose another name.")
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        # A full disk may have space again by the time that there is something to write.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise _refusal(path, f"{error.strerror} in {shown_path(there)}. Choose another folder.") from None

"""Drafts of killed processes: deleted once they are old, and never while a living process writes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nbdiffuse.files.atomic import OLD, delete_leftovers, write_atomic

WRITER = """
import os, signal, sys
from pathlib import Path
from nbdiffuse.files.atomic import write_atomic

# Where it would wait for the disk, it stops itself: the temporary file is written, open and locked.
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGSTOP)
write_atomic(Path(sys.argv[1]), b"content")
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are stopped by signals")


def temporary_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(".nbdiffuse-*"))


@contextmanager
def caught_writing(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that stopped itself while it writes a file."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file)]) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), status
            yield process
        finally:
            process.kill()


def grow_old(folder: Path) -> Path:
    (temporary,) = temporary_files(folder)
    os.utime(temporary, (time.time() - OLD - 5,) * 2)
    return temporary


def test_a_temporary_file_of_a_killed_process_is_deleted_at_the_next_write(tmp_path: Path) -> None:
    with caught_writing(tmp_path / "file") as process:
        process.kill()
    assert temporary_files(tmp_path)
    assert delete_leftovers(tmp_path) == 0, "it is too young to be told from one that is being written"
    grow_old(tmp_path)
    write_atomic(tmp_path / "next", b"content")
    assert temporary_files(tmp_path) == [] and (tmp_path / "next").read_bytes() == b"content"


def test_a_temporary_file_of_a_living_process_is_left_alone_however_old(tmp_path: Path) -> None:
    with caught_writing(tmp_path / "file") as process:
        temporary = grow_old(tmp_path)
        write_atomic(tmp_path / "next", b"content")
        assert temporary_files(tmp_path) == [temporary]
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0
        assert (tmp_path / "file").read_bytes() == b"content" and temporary_files(tmp_path) == []


def test_nothing_but_drafts_is_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"kept")
    names = [".nbdiffuse-notes", ".nbdiffuse-0123456789abcdef.png", "nbdiffuse-0123456789abcdef", ".nbdiffuse-0123456789ABCDEF"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".nbdiffuse-00000000000000aa").mkdir()
    (tmp_path / ".nbdiffuse-00000000000000bb").symlink_to(elsewhere)
    (tmp_path / ".nbdiffuse-00000000000000cc").write_bytes(b"left")
    os.utime(tmp_path / ".nbdiffuse-00000000000000cc", (0, 0))
    before = set(tmp_path.iterdir())
    assert delete_leftovers(tmp_path) == 1
    assert before - set(tmp_path.iterdir()) == {tmp_path / ".nbdiffuse-00000000000000cc"} and elsewhere.read_bytes() == b"kept"
    assert delete_leftovers(tmp_path / "not there") == 0

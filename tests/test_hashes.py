"""Hashes: the hub's own, and made once for each state of a file."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from nbdiffuse.files import hashes

pytestmark = pytest.mark.quick


def test_hashes_are_those_that_the_hub_gives(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"hello\n")
    assert hashes.sha256_of(file) == hashlib.sha256(b"hello\n").hexdigest()
    assert hashes.git_blob_of(file) == "ce013625030ba8dba906f756967f9e9ca394464a", "as `git hash-object` says"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, left alone for a minute, whose hash a first process has made."""
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LARGE", 1)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    then = time.time_ns() - 60 * 10**9
    os.utime(file, ns=(then, then))
    assert hashes.sha256_of(file) == hashlib.sha256(b"one").hexdigest()
    hashes._hashed.cache_clear()
    return file


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note the files that are read from now on."""
    noted: list[Path] = []
    read = hashes._read
    monkeypatch.setattr(hashes, "_read", lambda file, *rest: (noted.append(file), read(file, *rest))[1])
    return noted


def test_another_process_does_not_read_a_large_file_again(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reads(monkeypatch)
    assert hashes.sha256_of(large) == hashlib.sha256(b"one").hexdigest() and read == []
    assert hashes.git_blob_of(large) != hashes.sha256_of(large) and read == [large]


def test_a_large_file_that_was_changed_or_exchanged_is_read_again(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = large.stat()
    other = large.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(other, large)
    assert hashes.sha256_of(large) == hashlib.sha256(b"two").hexdigest(), "size and time are the same"
    large.write_bytes(b"three")
    read = reads(monkeypatch)
    for _ in range(2):
        hashes._hashed.cache_clear()
        assert hashes.sha256_of(large) == hashlib.sha256(b"three").hexdigest()
    assert read == [large, large], "a file that has just changed is not noted"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'["x"]', b"3", b"{}"])
def test_a_damaged_note_only_costs_time(content: bytes, large: Path) -> None:
    (note,) = (large.parent / "cache" / "hashes").iterdir()
    note.write_bytes(content)
    assert hashes.sha256_of(large) == hashlib.sha256(b"one").hexdigest()
    assert note.read_bytes() != content


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = hashes.sha256_of(file)
    before = hashes._hashed.cache_info()
    assert hashes.sha256_of(file) == first and hashes._hashed.cache_info().misses == before.misses
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert hashes.sha256_of(file) == hashlib.sha256(b"two").hexdigest() != first

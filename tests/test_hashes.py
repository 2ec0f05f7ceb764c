"""Hashes: the hub's own, and made once for each state of a file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nbdiffuse.files import hashes


def test_hashes_are_those_that_the_hub_gives(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"hello\n")
    assert hashes.sha256_of(file) == hashlib.sha256(b"hello\n").hexdigest()
    assert hashes.git_blob_of(file) == "ce013625030ba8dba906f756967f9e9ca394464a", "as `git hash-object` says"


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = hashes.sha256_of(file)
    before = hashes._hashed.cache_info()
    assert hashes.sha256_of(file) == first and hashes._hashed.cache_info().misses == before.misses
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert hashes.sha256_of(file) == hashlib.sha256(b"two").hexdigest() != first

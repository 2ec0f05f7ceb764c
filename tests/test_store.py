"""The store: found again by what made it, whole or absent, bounded, shared by processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import HUNG

from nbdiffuse import Chain, Recipe, resolve
from nbdiffuse.errors import FileError
from nbdiffuse.files.atomic import write_atomic
from nbdiffuse.files.folders import cache_folder
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.store.store import Store, store_key

FINGERPRINT = {"torch": "2.10", "checkpoint": "ab" * 32}


def made(seed: int, side: int = 64) -> tuple[Image.Image, Provenance]:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels), Provenance(resolve(Recipe(prompt="a cat", seed=seed)), FINGERPRINT, version="1")


def put(store: Store, seed: int, side: int = 64) -> None:
    store.put(*made(seed, side), seconds=0.5, notices=("a word was lost",))


def found(store: Store, seed: int) -> Any:
    return store.get(made(seed)[1].recipe, FINGERPRINT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.mark.quick
def test_an_image_is_found_again_with_all_that_was_kept(store: Store) -> None:
    put(store, 1)
    kept = found(Store(store.folder), 1)
    assert kept.image.mode == "RGB" and kept.image.tobytes() == made(1)[0].tobytes()
    assert (kept.seconds, kept.notices) == (0.5, ("a word was lost",))
    assert found(store, 2) is None


def test_another_fingerprint_is_another_image(store: Store) -> None:
    put(store, 1)
    recipe = made(1)[1].recipe
    assert store.get(recipe, {**FINGERPRINT, "torch": "2.11"}) is None
    assert store.get(recipe, dict(reversed(FINGERPRINT.items()))) is not None
    assert store_key(recipe, FINGERPRINT) != store_key(recipe, {})


def test_a_file_of_the_store_is_a_png_that_knows_its_recipe(store: Store) -> None:
    put(store, 1)
    file = store.path(made(1)[1].recipe, FINGERPRINT)
    provenance = image_files.read(file).provenance
    assert provenance is not None and provenance.recipe == made(1)[1].recipe


@pytest.mark.quick
def test_any_damage_makes_an_image_absent_and_it_can_be_kept_anew(store: Store) -> None:
    put(store, 1)
    file = store.path(made(1)[1].recipe, FINGERPRINT)
    whole = file.read_bytes()
    dice = random.Random(1)
    for _ in range(40):
        place = dice.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :]
        for damaged in (flipped, whole[:place], whole + b"x", b""):
            file.write_bytes(damaged)
            assert found(store, 1) is None
    put(store, 1)
    assert found(store, 1) is not None


@pytest.mark.quick
def test_a_file_under_another_name_is_not_believed(store: Store) -> None:
    put(store, 1)
    other = store.path(made(2)[1].recipe, FINGERPRINT)
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(store.path(made(1)[1].recipe, FINGERPRINT).read_bytes())
    assert found(store, 2) is None


def test_past_the_limit_the_images_unused_for_longest_go(tmp_path: Path) -> None:
    put(store := Store(tmp_path), 0)
    size = store.path(made(0)[1].recipe, FINGERPRINT).stat().st_size
    store = Store(tmp_path, limit=size * 7 // 2)
    for seed in (0, 1, 2):
        put(store, seed)
        os.utime(store.path(made(seed)[1].recipe, FINGERPRINT), (seed, seed))
    assert found(store, 0) is not None  # Used: now the youngest.
    put(store, 3)
    assert [seed for seed in range(4) if found(store, seed)] == [0, 2, 3]
    assert {entry["recipe"]["seed"] for entry in store.entries()} == {0, 2, 3}


def test_the_index_outlives_torn_lines_and_names_only_what_is_whole(store: Store) -> None:
    for seed in range(4):
        put(store, seed)
    with (store.folder / "index.jsonl").open("ab") as index:
        index.write(b'{"key": "abc')
    put(store, 4)
    with (store.folder / "index.jsonl").open("ab") as index:
        index.write(b'\n{"key": "../../etc/passwd", "bytes": 3}\n[1]\n"x"\n{"key": ["a"]}\n\xff\xfe\n')
    store.path(made(1)[1].recipe, FINGERPRINT).unlink()
    os.truncate(store.path(made(2)[1].recipe, FINGERPRINT), 50)
    assert [entry["recipe"]["seed"] for entry in store.entries()] == [0, 3, 4]


def test_a_store_that_cannot_be_written_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=r"cannot be written.*NBDIFFUSE_CACHE"):
        put(Store(tmp_path / "file"), 1)
    assert found(Store(tmp_path / "file"), 1) is None and list(Store(tmp_path / "file").entries()) == []


def test_a_failed_write_spares_the_old_file_and_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "a", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


CHILD = """
import builtins, os, signal, sys
sys.path[:0] = {path!r}
import test_store as t
store = t.Store({folder!r})
t.put(store, 0)
def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
def half(handle, content):
    real(handle, content[: len(content) // 2]); die()
real, real_open, real_file = os.write, os.open, open
point = {point!r}
if point == "index": os.write = half
elif point == "note": os.open = lambda path, *rest: die() if str(path).endswith("jsonl") else real_open(path, *rest)
elif point == "open": builtins.open = lambda path, *rest, **more: (die if "xb" in rest else real_file)(path, *rest, **more)
else: setattr(os, point, die)
t.put(store, 1)
"""


@pytest.mark.parametrize(("point", "there"), [("open", 0), ("fsync", 0), ("replace", 0), ("note", 1), ("index", 1)])
def test_a_kill_at_any_point_of_a_write_leaves_images_whole_or_absent(store: Store, point: str, there: int) -> None:
    code = CHILD.format(path=[str(Path(__file__).parent)], folder=str(store.folder), point=point)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert found(store, 0) is not None and (found(store, 1) is not None) == bool(there)
    assert [entry["recipe"]["seed"] for entry in store.entries()] == [0]
    put(store, 1)
    assert [entry["recipe"]["seed"] for entry in store.entries()] == [0, 1]


BUSY = """
import sys
sys.path[:0] = {path!r}
import test_store as t
store = t.Store({folder!r}, limit={limit})
for round in range({rounds}):
    for seed in range(12):
        kept = t.found(store, seed)
        assert kept is None or kept.image.tobytes() == t.made(seed)[0].tobytes()
        if kept is None: t.put(store, seed)
"""


def busy(folder: Path, limit: int, rounds: int) -> subprocess.Popen[str]:
    code = BUSY.format(path=[str(Path(__file__).parent)], folder=str(folder), limit=limit, rounds=rounds)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def test_processes_share_a_store_that_is_too_small_for_them(store: Store) -> None:
    put(store, 0)
    size = store.path(made(0)[1].recipe, FINGERPRINT).stat().st_size
    children = [busy(store.folder, size * 6, 6) for _ in range(3)]
    for child in children:
        assert child.wait(HUNG) == 0, child.stderr and child.stderr.read()
    for entry in store.entries():
        assert found(store, entry["recipe"]["seed"]) is not None
    assert len(list(store.entries())) >= 1


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_kills_at_random_tear_nothing(store: Store, kills: int) -> None:
    dice = random.Random(kills)
    for _ in range(kills):
        child = busy(store.folder, 60_000, 1000)
        while not any(store.entries()) and child.poll() is None:  # A busy machine starts slowly.
            time.sleep(0.02)
        time.sleep(0.2 + dice.random() * 0.4)
        child.kill()
        child.wait()
        child.stderr and child.stderr.close()
        for entry in store.entries():
            assert found(store, entry["recipe"]["seed"]) is not None
    assert any(store.entries())


def test_abandoned_drafts_are_cleared_away(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=10**6)
    put(store, 1)
    old, new = tmp_path / "images" / "ab", tmp_path / "images" / "cd"
    for folder in (old, new):
        folder.mkdir(exist_ok=True)
        (folder / ".nbdiffuse-x").write_bytes(b"half")
    os.utime(old / ".nbdiffuse-x", (0, 0))
    put(Store(tmp_path), 2)
    assert not (old / ".nbdiffuse-x").exists() and (new / ".nbdiffuse-x").exists()


def test_notes_about_unfinished_work_are_kept_until_forgotten(store: Store) -> None:
    assert store.recall("ab12") is None
    store.remember("ab12", "7")
    assert Store(store.folder).recall("ab12") == "7"
    store.forget("ab12")
    store.forget("ab12")
    assert store.recall("ab12") is None


def test_the_folder_is_the_chosen_one_or_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NBDIFFUSE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "nbdiffuse"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nbdiffuse"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "nbdiffuse"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "nbdiffuse" / "Cache"


def with_start(seed: int) -> tuple[Image.Image, Provenance, Picture]:
    image, _ = made(seed)
    start = Picture.of(Image.effect_noise((64, 64), 60 + seed).convert("RGB"))
    return image, Provenance(resolve(Recipe(prompt="a cat", image=start, seed=seed)), FINGERPRINT), start


def test_the_pictures_that_a_run_started_from_are_kept_once_and_count_for_the_limit(store: Store) -> None:
    image, provenance, start = with_start(1)
    store.put(image, provenance, 0.5)
    store.put(image, Provenance(provenance.recipe.replace(seed=2), FINGERPRINT), 0.5)
    assert len(list((store.folder / "pictures").glob("*/*.png"))) == 1
    found = store.given(start.address)
    assert found is not None and found.image.tobytes() == start.image.tobytes()
    full = Store(store.folder, limit=1)
    full.put(*made(3), seconds=0.5)
    assert full.given(start.address) is None


def test_a_kept_picture_that_was_altered_is_not_believed(store: Store) -> None:
    image, provenance, start = with_start(1)
    store.put(image, provenance, 0.5)
    (file,) = (store.folder / "pictures").glob("*/*.png")
    image.save(file)
    assert store.given(start.address) is None and store.given("sha256:../../x") is None


def test_a_chains_last_picture_does_not_answer_for_its_recipe_alone(store: Store) -> None:
    image, provenance = made(1)
    chain = Chain((provenance.recipe, Recipe(prompt="a house", seed=1)))
    store.put(image, Provenance(provenance.recipe, FINGERPRINT, chain=chain), 0.5)
    assert found(store, 1) is None
    (entry,) = store.entries()
    loaded = store.load(entry)
    assert loaded is not None and loaded[1].chain == chain

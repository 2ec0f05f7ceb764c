"""Damaged weights: always found where a hash is known, and never more than one line where there is none."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import guide
import pytest
import torch
from hub import Hub
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError

WEIGHTS = "diffusion_pytorch_model.safetensors"
Damage = Callable[[bytes, random.Random], bytes]


def header(content: bytes) -> int:
    """Return where the tensors begin."""
    return 8 + int(struct.unpack("<Q", content[:8])[0])


def flipped(content: bytes, place: int, rng: random.Random) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def flip(content: bytes, rng: random.Random) -> bytes:
    return flipped(content, rng.randrange(header(content), len(content)), rng)


def header_flip(content: bytes, rng: random.Random) -> bytes:
    return flipped(content, rng.randrange(header(content)), rng)


def truncation(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def hole(content: bytes, rng: random.Random) -> bytes:
    size = 4096
    while True:
        start = rng.randrange(header(content), len(content) - size)
        if any(content[start : start + size]):
            return content[:start] + bytes(size) + content[start + size :]


def growth(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.randrange(1, 64))


def pickled(content: bytes, rng: random.Random) -> bytes:
    return pickle.dumps({"weights": [rng.random()]})


KINDS: dict[Damage, tuple[int, int]] = {
    flip: (30, 300),
    header_flip: (30, 300),
    truncation: (10, 100),
    hole: (5, 50),
    growth: (3, 30),
    pickled: (1, 10),
}
"""How often each is tried every time, and in full."""


def cases(full: bool) -> Iterator[object]:
    for kind, sizes in KINDS.items():
        marks = [pytest.mark.slow] if full else []
        yield pytest.param(kind, sizes[full], id=f"{sizes[full]} {kind.__name__}", marks=marks)


def replaced(file: Path, content: bytes, turn: int) -> None:
    file.write_bytes(content)
    # A disk may note times more coarsely than these tests write.
    os.utime(file, ns=(turn, turn))


@pytest.fixture
def snapshot(hub: Hub, guide_repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fetched twin of SD 1.5, offline from here on."""
    hub.add(guide.SD15, guide_repos[guide.SD15])
    directory = locate(guide.SD15).directory
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return directory


@pytest.mark.parametrize(("damage", "times"), [*cases(False), *cases(True)])
def test_every_damage_to_a_download_is_found(damage: Damage, times: int, snapshot: Path) -> None:
    rng = random.Random(damage.__name__)
    blobs = [(snapshot / folder / name).resolve() for folder, name in (("unet", WEIGHTS), ("text_encoder", "model.safetensors"))]
    originals = {blob: blob.read_bytes() for blob in blobs}
    for turn in range(times):
        blob = rng.choice(blobs)
        replaced(blob, damage(originals[blob], rng), 2 * turn + 1)
        with pytest.raises(CheckpointError, match=rf"is damaged: its hash is not the hub's\. Delete {blob} and run again\."):
            locate(guide.SD15)
        replaced(blob, originals[blob], 2 * turn + 2)
    locate(guide.SD15)


def test_two_files_of_a_download_that_were_swapped_are_found(snapshot: Path) -> None:
    one, other = ((snapshot / folder / WEIGHTS).resolve() for folder in ("unet", "vae"))
    contents = one.read_bytes(), other.read_bytes()
    replaced(one, contents[1], 1)
    replaced(other, contents[0], 2)
    with pytest.raises(CheckpointError, match="is damaged"):
        locate(guide.SD15)


def test_renamed_keys_and_swapped_weights_of_a_download_are_found(snapshot: Path) -> None:
    blob = (snapshot / "unet" / WEIGHTS).resolve()
    state = load_file(blob)
    state["conv_in.weight_"] = state.pop("conv_in.weight")
    save_file(state, blob)
    with pytest.raises(CheckpointError, match="is damaged"):
        locate(guide.SD15)


@pytest.fixture
def local(guide_repos: dict[str, Path], tmp_path: Path) -> Path:
    """A local directory with one model, whose files nobody gave a hash for."""
    return Path(
        shutil.copytree(
            guide_repos[guide.CONTROLNET], tmp_path / "mine", ignore=shutil.ignore_patterns("*.fp16.*", "*.bin", "o*")
        )
    )


@pytest.mark.parametrize(("damage", "times"), [*cases(False), *cases(True)])
def test_damage_to_a_local_file_is_one_line_or_shows_in_the_identity(damage: Damage, times: int, local: Path) -> None:
    rng = random.Random(damage.__name__)
    file = local / WEIGHTS
    original = file.read_bytes()
    before = locate(str(local))
    state = loading.load(before, torch.float32).state_dict()
    found = 0
    for turn in range(times):
        replaced(file, damage(original, rng), turn + 1)
        try:
            checkpoint = locate(str(local))
            loaded = loading.load(checkpoint, torch.float32).state_dict()
        except CheckpointError as error:
            assert "\n" not in str(error) and len(str(error)) < 600
            found += 1
        else:
            assert not checkpoint.verified and checkpoint.identity != before.identity
            if damage is not flip and damage is not hole:
                assert all(torch.equal(tensor, loaded[key]) for key, tensor in state.items()), "other weights were let in"
    if damage not in (flip, hole, header_flip):
        assert found == times, "structure gives it away"


@pytest.mark.parametrize("swap", [("unet", "vae"), ("text_encoder", "safety_checker")])
def test_swapped_files_of_a_local_directory_are_refused(
    swap: tuple[str, str], guide_repos: dict[str, Path], tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(guide_repos[guide.SD15], tmp_path / "mine", ignore=shutil.ignore_patterns("*.fp16.*")))
    one, other = (next((mine / folder).glob("*model.safetensors")) for folder in swap)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    with pytest.raises(CheckpointError, match=r"lacks tensor|has an unexpected tensor") as caught:
        loading.load(locate(str(mine)), torch.float32)
    assert "\n" not in str(caught.value)

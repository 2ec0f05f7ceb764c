"""Pickles: those that hold tensors alone are read, and nothing in any of them is ever run."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guide
import pytest
import torch
from hub import Hub

from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError

BIN = "diffusion_pytorch_model.bin"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def in_zip(bird: Canary, state: dict[str, Any], file: Path) -> None:
    torch.save({**state, "extra": bird}, file)


def in_zip_as_key(bird: Canary, state: dict[str, Any], file: Path) -> None:
    torch.save({**state, "state_dict": {"deep": [bird]}}, file)


def in_legacy_format(bird: Canary, state: dict[str, Any], file: Path) -> None:
    torch.save({**state, "extra": bird}, file, _use_new_zipfile_serialization=False)


def in_tar(bird: Canary, state: dict[str, Any], file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(bird)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def raw(bird: Canary, state: dict[str, Any], file: Path) -> None:
    file.write_bytes(pickle.dumps(bird))


def alone_in_zip(bird: Canary, state: dict[str, Any], file: Path) -> None:
    torch.save(bird, file)


FORMATS = [in_zip, in_zip_as_key, in_legacy_format, in_tar, raw, alone_in_zip]
NAMES = [
    BIN,
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.bin",
    "diffusion_pytorch_model.gguf",
    "model.ckpt",
    "model.pt",
    "model.pt2",
]


def model(place: Path) -> Path:
    """Make a single model in a directory; small, and with weights that its class accepts."""
    from diffusers import AutoencoderTiny

    widths = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    blocks = {"num_encoder_blocks": (1,) * 4, "num_decoder_blocks": (1,) * 4}
    AutoencoderTiny(**widths, **blocks).save_pretrained(place)
    guide.to_bin(place)
    return place


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return model(tmp_path / "mine")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_no_pickle_is_run_whatever_holds_it_and_whatever_it_is_called(
    write: Callable[..., None], name: str, local: Path, tmp_path: Path
) -> None:
    state = torch.load(local / BIN)
    (local / BIN).unlink()
    write(Canary(tmp_path / "canary"), state, local / name)
    with pytest.raises(CheckpointError) as caught:
        loading.load(locate(str(local)), torch.float32)
    assert "\n" not in str(caught.value) and not (tmp_path / "canary").exists()


def test_the_canary_sings_where_a_pickle_is_run(tmp_path: Path) -> None:
    in_zip(Canary(tmp_path / "canary"), {}, tmp_path / "file")
    torch.load(tmp_path / "file", weights_only=False)["extra"].close()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("stray", ["optimizer.bin", "pytorch_lora_weights.bin", "training_args.bin", "tokenizer.pkl", "x.pt"])
def test_a_pickle_beside_the_weights_is_not_opened(stray: str, local: Path, tmp_path: Path) -> None:
    raw(Canary(tmp_path / "canary"), {}, local / stray)
    loading.load(locate(str(local)), torch.float32)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder", "safety_checker"])
def test_a_canary_in_a_repository_of_the_hub_is_refused(
    component: str, hub: Hub, guide_repos: dict[str, Path], tmp_path: Path
) -> None:
    place = Path(shutil.copytree(guide_repos[guide.COMIC], tmp_path / "comic"))
    (file,) = (place / component).glob("*.bin")
    in_zip(Canary(tmp_path / "canary"), torch.load(file), file)
    hub.add(guide.COMIC, place)
    with pytest.raises(CheckpointError, match=r"holds more than tensors and could run code, so it is not read\.$"):
        loading.load(locate(guide.COMIC), torch.float32)
    assert not (tmp_path / "canary").exists()


def test_every_pickle_is_opened_with_the_weights_only_loader(
    guide_repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    load = torch.load

    def watched(*args: Any, **options: Any) -> Any:
        opened.append(options.get("weights_only"))
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", watched)
    found = locate(str(guide_repos[guide.COMIC]))
    loading.load(found, torch.float32)
    assert opened and set(opened) == {True}
    assert "read by torch's weights-only loader, which runs no code" in found.notices[0]


def test_weights_of_a_pickle_are_checked_like_others(local: Path) -> None:
    state = torch.load(local / BIN)
    key = min(state)
    for change, line in (
        ({key: None}, rf"lacks tensor {key}"),
        ({key: torch.zeros(3)}, rf"another shape in tensor {key}"),
        ({"extra": torch.zeros(1)}, "has an unexpected tensor extra"),
        ({key: torch.full_like(state[key], torch.nan)}, f"no numbers in {key}"),
    ):
        changed = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
        torch.save(changed, local / BIN)
        with pytest.raises(CheckpointError, match=line):
            loading.load(locate(str(local)), torch.float32)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_pickle_that_was_cut_is_one_line(share: float, local: Path) -> None:
    content = (local / BIN).read_bytes()
    (local / BIN).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="is damaged or of an old format") as caught:
        loading.load(locate(str(local)), torch.float32)
    assert "\n" not in str(caught.value)

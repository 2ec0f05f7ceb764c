"""Checkpoints: found, identified, and refused when anything about them is wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import _tree_cache, constants
from safetensors.torch import load_file, save_file

from nbdiffuse import embedded
from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints import locate as locate_module
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError

UNET = "unet/diffusion_pytorch_model.safetensors"
ID, COMMIT = "artist/style", "c" * 40


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A local directory with the embedded base's files."""
    return Path(shutil.copytree(embedded.path("sd15"), tmp_path / "mine"))


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds one repository, as a download leaves it; returns the snapshot."""
    home = tmp_path / "hub"
    repo = home / f"models--{ID.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    for folder in ("refs", "blobs"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    tree = {}
    for file in sorted(one for one in embedded.path("sd15").rglob("*") if one.is_file()):
        content, name = file.read_bytes(), file.relative_to(embedded.path("sd15"))
        large = file.suffix == ".safetensors"
        blob = hashlib.sha256(content) if large else hashlib.sha1(b"blob %d\0" % len(content) + content)
        (repo / "blobs" / blob.hexdigest()).write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(repo / "blobs" / blob.hexdigest())
        sha256 = blob.hexdigest() if large else None
        tree[name.as_posix()] = _tree_cache.TreeCacheEntry(size=len(content), blob_id=blob.hexdigest(), lfs_sha256=sha256)
    _tree_cache.write_tree_cache(str(repo), COMMIT, tree)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def load(directory: Path) -> Any:
    return loading.load(locate(str(directory)), torch.float32)


def change(directory: Path, **edits: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Rewrite a component's weights file."""
    for component, edit in edits.items():
        file = next((directory / component).glob("*.safetensors"))
        state = load_file(file)
        edit(state)
        save_file(state, file)


def test_an_embedded_name_is_identified_by_the_manifest() -> None:
    found = locate("sd15")
    assert (found.identity, found.directory, found.verified) == (embedded.identity("sd15"), embedded.path("sd15"), True)


def test_a_directory_is_identified_by_what_is_in_its_files(local: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(local, tmp_path / "twin"))
    before = locate(str(local))
    assert before.identity == locate(str(twin)).identity and not before.verified
    (local / "README.md").write_text("hello")
    (local / "unet" / "old.bin").write_bytes(b"not read")
    assert locate(str(local)).identity == before.identity
    change(local, unet=lambda state: state["conv_out.bias"].add_(0.5))
    assert locate(str(local)).identity != before.identity == locate(str(twin)).identity


def test_a_directory_loads_with_the_pixels_of_diffusers_own_loader(local: Path, raw: Callable[[str], Any]) -> None:
    def run(pipeline: Any) -> Any:
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator("cpu").manual_seed(1)
        return pipeline("a cat", num_inference_steps=2, height=64, width=64, generator=generator, output_type="np").images

    assert np.array_equal(run(load(local)), run(raw("StableDiffusionPipeline")))


def test_a_word_that_names_nothing_says_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=r"'sd51'.*Did you mean 'sd15'\?"):
        locate("sd51")


def test_a_directory_that_is_no_checkpoint_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    ("component", "edit", "line"),
    [
        ("unet", lambda state: state.pop("conv_out.bias"), r"unet of .* lacks tensor conv_out\.bias\. Fetch"),
        ("vae", lambda state: state.pop("decoder.conv_in.bias"), r"vae of .* lacks tensor decoder\.conv_in\.bias"),
        ("text_encoder", lambda state: state.pop("final_layer_norm.bias"), r"text_encoder of .* lacks tensor final_layer_norm"),
        ("unet", lambda state: state.update(extra=torch.zeros(1)), r"unet of .* has an unexpected tensor extra\."),
        ("text_encoder", lambda state: state.update(extra=torch.zeros(1)), r"text_encoder of .* has an unexpected tensor extra"),
        (
            "unet",
            lambda state: state.update({"conv_out.bias": torch.zeros(5)}),
            r"unet of .* has another shape in tensor conv_out\.bias",
        ),
        (
            "text_encoder",
            lambda state: state.update({"final_layer_norm.bias": torch.zeros(5)}),
            r"another shape in tensor final_layer_norm\.bias",
        ),
        ("unet", lambda state: state["conv_out.bias"].fill_(torch.nan), r"values that are no numbers in conv_out\.bias"),
        ("vae", lambda state: state["decoder.conv_in.bias"].fill_(torch.inf), r"no numbers in decoder\.conv_in\.bias"),
    ],
)
def test_a_tensor_that_is_missing_unexpected_or_no_number_refuses_to_run(
    local: Path, component: str, edit: Any, line: str
) -> None:
    change(local, **{component: edit})
    with pytest.raises(CheckpointError, match=line) as caught:
        load(local)
    assert "\n" not in str(caught.value)


def test_old_position_ids_are_let_through(local: Path) -> None:
    change(local, text_encoder=lambda state: state.update({"text_model.embeddings.position_ids": torch.arange(77)[None]}))
    load(local)


@pytest.mark.parametrize("place", [0, 1, 3, 7, 8, 9, 40])
def test_a_damaged_header_is_one_line(local: Path, place: int) -> None:
    content = bytearray((local / UNET).read_bytes())
    content[place] ^= 0xFF
    (local / UNET).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(local)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_is_one_line(local: Path, share: float) -> None:
    content = (local / UNET).read_bytes()
    (local / UNET).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError) as caught:
        load(local)
    assert "\n" not in str(caught.value)


def test_a_component_without_its_file_is_refused(local: Path) -> None:
    (local / UNET).unlink()
    with pytest.raises(CheckpointError) as caught:
        load(local)
    assert "\n" not in str(caught.value)


def code_in(directory: Path, canary: Path, **index: Any) -> None:
    """Give a checkpoint files with code, and name them in its index."""
    code = f"open({str(canary)!r}, 'w')\nfrom diffusers import *\n"
    for place in ("pipeline.py", "evil.py", "unet/evil.py", "scheduler/evil.py", "unet/modeling_evil.py"):
        (directory / place).write_text(code)
    file = directory / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **index}))


@pytest.mark.parametrize(
    "index",
    [
        {"_class_name": ["pipeline", "StableDiffusionPipeline"]},
        {"_class_name": ["evil", "StableDiffusionPipeline"]},
        {"_class_name": "evil.Pipeline"},
        {"unet": ["evil", "UNet2DConditionModel"]},
        {"scheduler": ["evil", "PNDMScheduler"]},
        {"unet": ["os", "system"]},
        {"more": ["subprocess", "Popen"]},
        {"../unet": ["diffusers", "UNet2DConditionModel"]},
        {"unet": ["diffusers", ["evil", "UNet"]]},
        {"unet": ["diffusers", "load_image"]},
    ],
    ids=str,
)
def test_no_code_of_a_checkpoint_is_run(local: Path, tmp_path: Path, index: dict[str, Any]) -> None:
    code_in(local, tmp_path / "canary", **index)
    with pytest.raises(CheckpointError) as caught:
        load(local)
    assert "\n" not in str(caught.value) and not (tmp_path / "canary").exists()


def test_an_auto_map_is_refused_and_a_stray_file_with_code_is_not_looked_at(local: Path, tmp_path: Path) -> None:
    code_in(local, tmp_path / "canary")
    load(local)
    config = local / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "modeling_evil.Model"}}))
    with pytest.raises(CheckpointError, match="auto_map"):
        load(local)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("before", ["", "import diffusers; "])
def test_the_switch_against_remote_code_is_on_whatever_was_imported_first(before: str) -> None:
    code = (
        f"{before}import nbdiffuse.checkpoints.locate\nfrom diffusers.utils import dynamic_modules_utils as d\n"
        "try:\n    d.get_cached_module_file('no_such_community_pipeline', 'pipeline.py')\n"
        "except ValueError as error:\n    print('refused' if 'disabled' in str(error) else error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "refused", done.stderr


def test_a_hub_id_that_is_on_this_disk_loads_offline_and_is_identified_by_its_commit(cached: Path) -> None:
    found = locate(ID)
    assert (found.identity, found.verified) == (f"{ID}@{COMMIT}", True)
    assert loading.load(found, torch.float32).unet.config.sample_size == 16
    assert locate(f"{ID}@{COMMIT}").identity == found.identity


def test_an_id_that_moved_is_followed_and_said(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate_module, "MOVED", {"old/style": ID})
    found = locate("old/style")
    assert (found.identity, found.notices) == (f"{ID}@{COMMIT}", (f"old/style has moved to {ID}.",))


@pytest.mark.parametrize("name", [UNET, "unet/config.json", "scheduler/scheduler_config.json"])
def test_a_wrong_byte_in_a_download_is_found(cached: Path, name: str) -> None:
    blob = (cached / name).resolve()
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} of {ID} is damaged.*Delete {blob}"):
        locate(ID)


def test_an_incomplete_download_without_a_network_says_so(cached: Path) -> None:
    (cached / UNET).unlink()
    with pytest.raises(CheckpointError, match=f"^{ID} is not complete on this disk"):
        locate(ID)

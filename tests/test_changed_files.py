"""What a file says now is what runs now: weights that were written again are noticed at the next run, and named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import single_file
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_lora import write_lora

from nbdiffuse import Recipe, Session, embedded, sweep
from nbdiffuse.checkpoints import locate
from nbdiffuse.errors import CheckpointError
from nbdiffuse.files.hashes import states_of
from nbdiffuse.pipelines import lookups
from nbdiffuse.pipelines.lookups import Lookups
from nbdiffuse.runs.grid import Grid
from nbdiffuse.store.store import Store


def rewrite(file: Path, change: Callable[[str, torch.Tensor], torch.Tensor], keep_time: bool = False) -> None:
    """Write a weights file again in place: the same inode, the same size, and the same time where that is kept."""
    state = file.stat()
    changed = file.with_name("changed")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file({key: change(key, value).contiguous() for key, value in load_file(file).items()}, changed, metadata)
    with file.open("r+b") as target:
        target.write(changed.read_bytes())
    changed.unlink()
    if keep_time:
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_ino) == (state.st_size, state.st_ino)


def stronger(key: str, value: torch.Tensor) -> torch.Tensor:
    return value * 1.5 if "lora_B" in key or "lora.up" in key else value


def louder(key: str, value: torch.Tensor) -> torch.Tensor:
    return value * 1.05


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for the embedded base."""
    base = diffusers.StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    return write_lora(tmp_path_factory.mktemp("written"), "ink.safetensors", base.unet, 3)


@pytest.fixture
def lora(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path / "ink.safetensors"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The embedded base as a directory of this disk that can be written."""
    target = tmp_path / "trained"
    shutil.copytree(embedded.path("sd15"), target, copy_function=shutil.copyfile)
    return target


def recipe(**more: Any) -> Recipe:
    return Recipe(prompt="a cat", num_inference_steps=2, seed=1, width=128, height=128, **more)


@pytest.mark.parametrize("keep_time", [False, True], ids=["", "its time kept"])
def test_a_lora_that_is_written_again_is_loaded_again_and_named(
    keep_time: bool, lora: Path, session: Session, tmp_path: Path
) -> None:
    asked = recipe(lora=str(lora))
    first = session.run(asked)
    held = session.with_pipelines(lambda pipelines: len(pipelines.table()))
    rewrite(lora, stronger, keep_time)
    second = session.run(asked)
    assert session.with_pipelines(lambda pipelines: len(pipelines.table())) <= held, "the old weights left the memory"
    fresh = session.run(recipe(lora=str(shutil.copy(lora, tmp_path / "other.safetensors"))))
    assert second.image.tobytes() == fresh.image.tobytes() != first.image.tobytes()
    assert second.fingerprint["checkpoint"] == fresh.fingerprint["checkpoint"] != first.fingerprint["checkpoint"]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_directory_that_is_written_again_is_loaded_again_with_nothing_of_the_old_one(
    part: str, directory: Path, session: Session, scene: Any, tmp_path: Path
) -> None:
    asked = recipe(checkpoint=str(directory), image=scene.image, strength=0.9)
    first = session.run(asked)
    (file,) = (directory / part).glob("*.safetensors")
    rewrite(file, louder)
    second = session.run(asked)
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    fresh = Session().run(asked.replace(checkpoint=str(copy)))
    assert second.image.tobytes() == fresh.image.tobytes() != first.image.tobytes()
    assert second.fingerprint["checkpoint"] == fresh.fingerprint["checkpoint"] != first.fingerprint["checkpoint"]
    assert second.latents is not None and fresh.latents is not None and first.latents is not None
    assert (second.latents.space == first.latents.space) is (part != "vae") and second.latents.space == fresh.latents.space


def test_a_single_file_that_is_written_again_is_loaded_again(raw: Callable[[str], Any], session: Session, tmp_path: Path) -> None:
    single = single_file.write(raw("StableDiffusionPipeline"), tmp_path / "style.safetensors")
    shutil.copytree(embedded.path("sd15"), tmp_path / "style", ignore=shutil.ignore_patterns("*.safetensors"))
    asked = recipe(checkpoint=str(single))
    first = session.run(asked)
    rewrite(single, louder)
    second = session.run(asked)
    assert first.image.tobytes() != second.image.tobytes()
    assert first.fingerprint["checkpoint"] != second.fingerprint["checkpoint"]
    config = tmp_path / "style" / "vae" / "config.json"
    os.chmod(config, 0o644)
    config.write_text(config.read_text().replace("}", " }"))
    assert session.run(asked).fingerprint["checkpoint"] != second.fingerprint["checkpoint"], "its configs count too"


def test_a_controlnet_that_is_written_again_is_loaded_again(session: Session, scene: Any, tmp_path: Path) -> None:
    net = Path(shutil.copytree(embedded.path("controlnet-depth"), tmp_path / "net", copy_function=shutil.copyfile))
    asked = recipe(image=scene.image, controlnet=str(net), control_image=scene.depth)
    first = session.run(asked)
    rewrite(net / "diffusion_pytorch_model.safetensors", louder)
    second = session.run(asked)
    assert first.image.tobytes() != second.image.tobytes()
    assert first.fingerprint["controlnet"] != second.fingerprint["controlnet"]


def test_only_stat_is_asked_of_files_that_did_not_change(
    lora: Path, directory: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(lora=str(lora), checkpoint=str(directory))
    session.run(asked)
    found: list[str] = []
    monkeypatch.setattr(lookups.locate, "locate", lambda word, **more: found.append(word))
    session.run(asked)
    assert found == []


def test_a_lora_alone_changes_and_its_base_is_not_looked_for_again(
    lora: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run(recipe(lora=str(lora)))
    find, bases = locate.locate, []
    monkeypatch.setattr(lookups.locate, "locate", lambda word, **more: (bases.append(more["base"]), find(word, **more))[1])
    rewrite(lora, stronger)
    session.run(recipe(lora=str(lora)))
    assert bases and all(base is not None and base.name == "sd15" for base in bases)


def test_a_relative_path_follows_the_working_directory(lora: Path, tmp_path: Path, session: Session, monkeypatch: Any) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(lora, other)
    rewrite(other / lora.name, stronger)
    results = []
    for folder in (tmp_path, other):
        monkeypatch.chdir(folder)
        results.append(session.run(recipe(lora=lora.name)))
    assert results[0].image.tobytes() != results[1].image.tobytes()


def test_a_grid_under_way_keeps_the_files_that_it_began_with(lora: Path, session: Session, tmp_path: Path) -> None:
    grid = sweep(recipe(lora=str(lora)), Store(tmp_path / "store"), seed=[1, 2, 3])
    grid._outcomes.runner.ahead = 1
    results = []
    for result in grid:
        results.append(result)
        if len(results) == 1:
            rewrite(lora, stronger)
    assert len({result.fingerprint["checkpoint"] for result in results}) == 1
    assert grid.notices == ()
    again = sweep(recipe(lora=str(lora)), Store(tmp_path / "store"), seed=[1, 2, 3]).run()
    new = {result.fingerprint["checkpoint"] for result in again}
    assert len(new) == 1 and new != {results[0].fingerprint["checkpoint"]}, "what the store holds is of the old file"


def test_a_grid_that_goes_on_with_other_files_says_so(lora: Path, session: Session) -> None:
    grid = Grid(sweep(recipe(lora=str(lora)), Store(), seed=[1, 2, 3]).sweep)
    grid[0]
    rewrite(lora, stronger)
    (line,) = grid.run().notices
    assert "changed" in line and "1 of 3" in line and "ink.safetensors" in line


def test_files_that_change_while_they_are_read_are_not_run_under_the_old_name(
    lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdiffuse.pipelines import pipelines

    load = pipelines.loading.load

    def slow(checkpoint: Any, dtype: Any) -> Any:
        rewrite(lora, stronger)
        return load(checkpoint, dtype)

    own = Session()
    with monkeypatch.context() as patch:
        patch.setattr(pipelines.loading, "load", slow)
        with pytest.raises(CheckpointError, match=r"have changed since this run began\. Run it again"):
            own.run(recipe(lora=str(lora)))
    assert own.run(recipe(lora=str(lora))).images


def test_another_file_that_is_written_into_the_directory_stops_nothing(
    directory: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdiffuse.pipelines import pipelines

    load = pipelines.loading.load

    def logged(checkpoint: Any, dtype: Any) -> Any:
        (directory / "unet" / "log.tmp").write_text("step 1")
        return load(checkpoint, dtype)

    own = Session()
    monkeypatch.setattr(pipelines.loading, "load", logged)
    asked = recipe(checkpoint=str(directory))
    first, rows = own.run(asked), own.with_pipelines(lambda pipelines: pipelines.table())
    assert own.run(asked).fingerprint == first.fingerprint and len(rows) == 1


def test_a_file_that_changes_while_it_is_hashed_is_found_again(lora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, find, calls = Lookups(lambda: False), locate.locate, [0]

    def changing(word: str, **more: Any) -> Any:
        found = find(word, **more)
        calls[0] += 1
        if calls[0] == 3:
            rewrite(lora, stronger)
        return found

    monkeypatch.setattr(lookups.locate, "locate", changing)
    known.get(f"sd15 + {lora}")
    monkeypatch.undo()
    assert known.get(f"sd15 + {lora}").identity == find(f"sd15 + {lora}").identity


def test_a_file_that_goes_away_and_comes_is_another_state(tmp_path: Path) -> None:
    file = tmp_path / "a"
    absent = states_of((file,))
    file.write_text("x")
    assert states_of((file,)) != absent and states_of((file,)) == states_of((file,))

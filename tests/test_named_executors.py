"""Executors by one word: local worker processes, one for each GPU, and what a lost one had under way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.command_line.main import main
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.sessions import named_executors
from nbdiffuse.sessions.named_executors import named_executor, workers

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=2, strength=0.5, seed=7, width=64, height=64)


@pytest.mark.quick
def test_each_gpu_gets_a_worker_that_sees_it_alone() -> None:
    assert workers(("cuda:0", "cuda:1"), 16) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    # torch counts those that are visible.
    assert workers(("cuda:0", "cuda:1"), 16, "5, 7") == [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    assert workers(("cuda:0",), 2, "GPU-8a1b") == [{"CUDA_VISIBLE_DEVICES": "GPU-8a1b"}]


@pytest.mark.quick
@pytest.mark.parametrize(("cores", "count", "threads"), [(1, 1, "1"), (2, 2, "1"), (4, 4, "1"), (16, 4, "4")])
def test_without_a_gpu_workers_share_the_cores(cores: int, count: int, threads: str) -> None:
    found = workers((), cores)
    assert len(found) == count and all(one["OMP_NUM_THREADS"] == threads for one in found)


@pytest.mark.quick
def test_another_word_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"`executor` must be .*or one of dask, devices, got 'dusk'. Did you mean 'dask'"):
        named_executor("dusk")
    with pytest.raises(ParameterError, match=r"client.get_executor\(\)"):
        named_executor("threads")
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    monkeypatch.setattr(named_executors, "_running", {})
    with pytest.raises(NbdiffuseError, match=r'Dask is not installed: pip install "nbdiffuse\[dask\]"'):
        named_executor("dask")


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """The word's cluster with two workers, whatever the machine."""
    pytest.importorskip("distributed")
    before = dict(os.environ)
    client = named_executors._client(workers((), 2))
    assert os.environ == before
    named_executors._running["dask"] = client
    yield client
    named_executors._close(client)
    named_executors._running.clear()


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number:02d}.png")
    return folder


def test_the_rows_of_a_lost_worker_run_on_another_one(two: Any, tmp_path: Path, session: Any) -> None:
    photos = paint(tmp_path / "photos", 8)
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", executor="dask")
    begun = list(two.run(os.getpid).values())
    assert len(set(begun)) == 2

    def kill_one() -> None:
        if begun and made.missing <= 6:
            os.kill(begun[0], signal.SIGKILL)
            begun.clear()

    made.run(kill_one)
    assert not begun and made.missing == 0 and not made.failed
    alone = np.asarray(session.run(RECIPE.replace(image=photos / "p07.png")).image).astype(int)
    # A worker may have another number of threads, which rounds sums in another order.
    assert np.abs(np.asarray(Image.open(tmp_path / "out" / "p07.png")).astype(int) - alone).max() <= 1


def test_a_command_takes_the_word_and_no_variable(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "photos", 2)
    monkeypatch.chdir(tmp_path)
    size = ["-n", "2", "-s", "0.5", "--seed", "7", "--width", "64", "--height", "64"]
    assert main(["img2img", "photos", "--prompt", "a cat", "--executor", "dask", "--out", "made", *size]) == 0
    assert len(list((tmp_path / "made").glob("*.png"))) == 2
    capsys.readouterr()
    assert main(["img2img", "photos", "--prompt", "a cat", "--executor", "pool", "--out", "b", *size]) == 2
    assert "`--executor` must be one of dask, devices, got 'pool'." in capsys.readouterr().err

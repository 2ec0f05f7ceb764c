"""A kernel that dies in the middle of a grid: what was finished is there, and is not made again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_kernel import Kernel
from waiting import wait_for

from nbdiffuse.store.store import Store

BEGIN = """%load_ext nbdiffuse
import nbdiffuse
start = nbdiffuse.embedded.world.sample(3_000_003).image
"""
CELL = "%%img2img start --seed {first}..{last} --num-inference-steps 6,12,18 --strength 0.5 --scheduler DDIM --out grid\na cat"
COUNT = 12


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    running = Kernel(NBDIFFUSE_CACHE=str(tmp_path / "cache"))
    assert running.run(BEGIN).ok
    yield running
    running.close()


def kept(folder: Path) -> list[str]:
    """Return the files of the store's pictures, by their names."""
    return sorted(str(path) for path in folder.rglob("images/*/*.png"))


def killed_in(kernel: Any, cell: str, folder: Path, pictures: int, after: float, way: str) -> set[str]:
    """Run a cell, kill the kernel so many seconds after so many pictures are kept, and return the files that are there then."""
    before = set(kept(folder))
    kernel.client.execute(cell)
    wait_for(lambda: len(kept(folder)) >= len(before) + pictures, lambda: kept(folder), every=0.01)
    time.sleep(after)
    if way == "kill":
        os.kill(kernel.manager.provisioner.process.pid, signal.SIGKILL)
    kernel.restart()
    assert kernel.run(BEGIN).ok
    return set(kept(folder)) - before


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_kernel_that_dies_in_a_grid_loses_nothing_finished_and_makes_nothing_twice(
    kernel: Any, tmp_path: Path, rounds: int
) -> None:
    folder, dice, halves = tmp_path / "cache", random.Random(rounds), 0
    for number in range(rounds):
        cell = CELL.format(first=100 * number, last=100 * number + COUNT // 3 - 1)
        before = set(kept(folder))
        way = "kill" if number % 2 else "restart"
        found = killed_in(kernel, cell, folder, (number + 1) % (COUNT - 1), dice.uniform(0.0, 0.3), way)
        halves += 0 < len(found) < COUNT
        assert kernel.run(cell).ok
        sources = kernel.run("print([one['source'] for one in grid.records()])").stream
        # What lay there is taken as it is, the rest is made, and no picture is there under two names.
        assert (sources.count("'store'"), sources.count("'")) == (len(found), 2 * COUNT), sources
        made = set(kept(folder)) - before
        assert found <= made and len(made) == COUNT
        assert len(list(Store(folder).entries())) == COUNT * (number + 1)
    assert halves >= rounds // 2

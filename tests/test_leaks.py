"""Nothing stays of a run: threads, open files, tensors, widgets and memory are as many as before, whatever became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

CHILD = """
import ctypes, dataclasses, gc, json, os, sys, threading, warnings
warnings.simplefilter("ignore")
import ipywidgets, torch
import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.errors import Interrupted, NbdiffuseError
from nbdiffuse.embedded import world
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.sessions.waiting import wait

good, failing, stopped, reloads, shown = map(int, sys.argv[1:6])
session = nbdiffuse.get_session()
start = world.sample(3_000_003).image
recipe = Recipe(prompt="a cat", image=start, num_inference_steps=2, strength=1.0, seed=1)
long = recipe.replace(num_inference_steps=6)


def run_well():
    session.run(recipe)


FAULTS = [ValueError, KeyboardInterrupt, SystemExit, lambda: torch.OutOfMemoryError("CUDA out of memory")]


def run_in_vain(number):
    unet = session._engine.pipelines.components("sd15")["unet"]

    def fail(module, inputs, output):
        raise FAULTS[number % 4]()

    hook = unet.conv_out.register_forward_hook(fail)
    try:
        session.run(recipe)
        raise AssertionError("it did not fail")
    except NbdiffuseError:
        pass
    finally:
        hook.remove()


def stop(number):
    seen = []

    def note(progress):
        seen.append(progress.step)
        if len(seen) > number % 3:
            job.stop()

    job = session.submit(long, note)
    try:
        wait(job)
        raise AssertionError("it was not stopped")
    except Interrupted:
        pass


def interrupt(number):
    seen = []

    def press():
        if seen:
            raise KeyboardInterrupt

    job = session.submit(long, seen.append)
    try:
        wait(job, press)
    except Interrupted:
        pass


def reload():
    session.with_pipelines(lambda pipelines: pipelines.unload("sd15"))
    session.run(recipe)


panel = Panel(recipe, session)
first = Recipe(prompt="a cat", seed=1)
second = Recipe(prompt="a dog", strength=0.5)
chains = ChainPanel(first >> second, session)


def show():
    panel.run()
    panel._thread.settle()
    panel.wait()
    assert panel.last_error is None, panel.last_error


def look_back(number):
    # A past result more than the panel keeps.
    panel.show(recipe, dataclasses.replace(made))


def change_steps():
    chains.show(first >> second >> second.replace(model="sdxl"))
    chains.show(first >> second)


def settled():
    # Behind whatever the worker still ends.
    session.with_pipelines(lambda pipelines: None)
    panel._thread.settle()
    for thread in threading.enumerate():
        if thread.name == "nbdiffuse-keep":
            thread.join()
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        pass


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counted():
    settled()
    tensors = sum(isinstance(one, torch.Tensor) for one in gc.get_objects())
    # Comms are those of widgets.
    widgets = len(ipywidgets.widgets.widget._instances)
    files = len(os.listdir("/proc/self/fd"))
    return {"threads": threading.active_count(), "files": files, "tensors": tensors, "widgets": widgets, "memory": resident()}


def all_once(count, *works):
    for work in works:
        for number in range(count):
            work(number) if work.__code__.co_argcount else work()


with session.unrecorded():
    all_once(4, run_well, run_in_vain, stop, interrupt)
    all_once(2, reload)
    made = session.run(recipe)
    all_once(26, look_back)
    all_once(2, show, change_steps)
    before, after = counted(), {}
    all_once(good, run_well)
    after["good"] = counted()
    all_once(failing, run_in_vain)
    after["failing"] = counted()
    all_once((stopped + 1) // 2, stop, interrupt)
    after["stopped"] = counted()
    all_once(reloads, reload)
    after["reloads"] = counted()
    all_once(shown, show, look_back, change_steps)
    after["shown"] = counted()
print(json.dumps({"before": before, "after": after}))
"""

MIB = 2**20
SIZES = [
    # Good, failing and stopped runs, loads, and runs and changes in panels.
    pytest.param((20, 8, 4, 5, 2), id="a tenth"),
    pytest.param((200, 80, 40, 50, 20), id="full", marks=pytest.mark.slow),
]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files and memory as Linux tells them")
@pytest.mark.parametrize("sizes", SIZES)
def test_nothing_stays_of_runs_that_ended_well_failed_or_were_stopped(sizes: tuple[int, ...], tmp_path: Any) -> None:
    environment = {**os.environ, "NBDIFFUSE_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-c", CHILD, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    before, after = seen["before"], seen["after"]
    for name in ("threads", "files", "tensors", "widgets"):
        grown = {part: counts[name] - before[name] for part, counts in after.items() if counts[name] > before[name]}
        assert grown == {}, f"{name}: {seen}"
    memory = {part: counts["memory"] - before["memory"] for part, counts in after.items()}
    assert max(memory.values()) <= 16 * MIB, memory
    if sum(sizes[:3]) >= 300:
        assert memory["stopped"] <= 8 * 1024 * sum(sizes[:3]) + 2 * MIB, memory

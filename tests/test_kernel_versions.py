"""A panel in kernels of three ipykernel versions, which call its callbacks beside a cell, after it, or inside it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_kernel import Kernel
from waiting import HUNG, wait_for

SETUP = """%load_ext nbdiffuse
import hashlib, threading, time, nbdiffuse
from nbdiffuse.panels.recipe_panel import Panel
start = nbdiffuse.embedded.world.sample(3_000_003).image
recipe = nbdiffuse.Recipe(prompt="a cat", image=start, num_inference_steps=300, strength=1.0, seed=7)
session = nbdiffuse.get_session()
short = recipe.replace(num_inference_steps=4)
expected = hashlib.sha256(session.run(short).image.tobytes()).hexdigest()
seen = {"now": 0, "most": 0, "calls": 0, "callbacks": 0, "threads": set(), "runners": set(), "after": [], "seconds": []}
def begin(module, given):
    seen["now"] += 1; seen["calls"] += 1
    seen["most"] = max(seen["most"], seen["now"]); seen["runners"].add(threading.get_ident())
def end(module, given, made):
    seen["now"] -= 1
unet = session._engine.pipelines.components("sd15")["unet"]
unet.register_forward_pre_hook(begin); unet.register_forward_hook(end)
panel = Panel(recipe, session)
pressed = {"run": panel._run_button, "stop": panel._stop_button}
def watched(name):
    real = pressed[name].click
    def click():
        seen["callbacks"] += 1; seen["threads"].add(threading.get_ident())
        began = time.perf_counter(); real(); seen["seconds"].append(time.perf_counter() - began)
        if name == "stop": seen["after"].append(seen["calls"])
    pressed[name].click = click
for name in pressed: watched(name)
print(panel._run_button.comm.comm_id, panel._stop_button.comm.comm_id)
"""
BUSY = {
    "between cells": "",
    "beside a cell": "%%txt2img -n 40 --seed 3 --out beside\na dog",
    "inside a cell that awaits": "beside = await session.submit(recipe.replace(num_inference_steps=40, seed=3))",
}


@pytest.fixture(scope="module")
def versions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return where a version of ipykernel lies, got by pip when it is first asked for and kept where pytest keeps anything."""
    cache = getattr(request.config, "cache", None)

    def get(version: str) -> str:
        if version == "installed":
            return ""
        name = f"ipykernel-{version}"
        folder = Path(cache.mkdir(name)) if cache else tmp_path_factory.getbasetemp() / name
        if not (folder / "ipykernel").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
            if subprocess.run([*command, f"ipykernel=={version}", "nest-asyncio"], capture_output=True).returncode:
                pytest.skip(f"ipykernel {version} cannot be had here")
        return str(folder)

    return get


class PanelKernel(Kernel):
    """A kernel with a panel, whose buttons are pressed as a front end presses them."""

    def __init__(self, folder: str) -> None:
        super().__init__(PYTHONPATH=os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", "")))))
        made = self.run(SETUP)
        assert made.ok, made.outputs
        self.ids = dict(zip(("run", "stop"), made.stream.split()[-2:], strict=True))

    def subshell(self) -> str:
        """Begin a subshell, as JupyterLab does for a panel, and return its name."""
        message = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(message)
        return str(self.client.get_control_msg(timeout=HUNG)["content"]["subshell_id"])

    def press(self, name: str, subshell: str = "") -> None:
        content = {"comm_id": self.ids[name], "data": {"method": "custom", "content": {"event": "click"}}}
        message = self.client.session.msg("comm_msg", content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def asked(self, expression: str) -> str:
        return self.run(f"print({expression})").stream.strip()

    def wait_for(self, expression: str) -> None:
        wait_for(lambda: self.asked(expression) == "True", lambda: expression, every=0.05)


def one_round(kernel: PanelKernel, state: str, subshell: str, dice: random.Random) -> None:
    """Press Run, then Stop, in a state of the kernel, and see all of it end."""
    cell = BUSY[state]
    callbacks = int(kernel.asked('seen["callbacks"]'))
    message = kernel.client.execute(cell) if cell else None
    time.sleep(dice.uniform(0.0, 0.3))
    kernel.press("run", subshell)
    time.sleep(dice.uniform(0.0, 0.6))
    kernel.press("stop", subshell)
    if message is not None:
        if dice.random() < 0.3:
            kernel.manager.interrupt_kernel()
        assert kernel._reply(message, True)
    kernel.wait_for(f'seen["callbacks"] >= {callbacks + 2}')
    # Where the run was asked for after the stop, it is stopped now.
    kernel.press("stop", subshell)
    kernel.wait_for("not panel.busy")


CASES = [("installed", False), ("installed", True)]
OTHERS = [pytest.param(case, marks=pytest.mark.slow) for case in (("6.31.0", False), ("7.3.0", False), ("7.3.0", True))]


@pytest.fixture(params=[*CASES, *OTHERS], ids=lambda case: case[0] + ", subshell" * case[1], scope="module")
def panel_kernel(request: Any, versions: Callable[[str], str]) -> Iterator[tuple[PanelKernel, str]]:
    version, with_subshell = request.param
    kernel = PanelKernel(versions(version))
    try:
        if version != "installed":
            assert kernel.asked("__import__('ipykernel').__version__") == version
        yield kernel, kernel.subshell() if with_subshell else ""
    finally:
        kernel.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("state", BUSY)
def test_run_and_stop_of_a_panel_end_and_run_one_thing_at_a_time(
    panel_kernel: tuple[PanelKernel, str], state: str, rounds: int
) -> None:
    kernel, subshell = panel_kernel
    dice = random.Random(f"{state} {rounds}")
    for _ in range(rounds):
        one_round(kernel, state, subshell, dice)
    assert kernel.asked('seen["most"], seen["now"]') == "1 0"
    # No callback ran a pipeline itself.
    assert kernel.asked('seen["threads"] & seen["runners"]') == "set()"
    assert kernel.asked("hashlib.sha256(session.run(short).image.tobytes()).hexdigest() == expected") == "True"


def test_a_stop_that_is_delivered_is_heard_within_a_step(panel_kernel: tuple[PanelKernel, str]) -> None:
    kernel, subshell = panel_kernel
    kernel.press("run", subshell)
    before = int(kernel.asked('seen["calls"]'))
    kernel.wait_for(f'seen["calls"] > {before + 3}')
    kernel.press("stop", subshell)
    kernel.wait_for("not panel.busy")
    # The call that was under way ends, and one more may have begun before the stop was seen.
    assert int(kernel.asked('seen["calls"] - seen["after"][-1]')) <= 2

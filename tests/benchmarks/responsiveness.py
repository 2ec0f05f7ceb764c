"""How long a person waits for an answer that runs nothing: `python tests/benchmarks/responsiveness.py`.

Two figures, each the median, the 99th of a hundred and the greatest, in milliseconds:

- the answer to a magic's line of any text, as in `test_inert_lines`, where what would run does not,
  after the first use of each magic, which loads the libraries;
- a panel's Run and Stop while a picture is drawn, in a real kernel, as its front end presses them.

`--ipykernel FOLDER` takes the kernel from a folder, see `pip install --no-deps --target FOLDER ipykernel==6.31.0 nest-asyncio`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from test_inert_lines import COMMANDS, answers, lines, nothing_runs, texts
from test_kernel_versions import BUSY, PanelKernel, one_round

import nbdiffuse


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return the figures of some durations."""
    ordered = sorted(seconds)
    picked = {"median": statistics.median(ordered), "99 %": ordered[int(0.99 * (len(ordered) - 1))], "greatest": ordered[-1]}
    return {"count": len(ordered), **{name: round(1000 * value, 2) for name, value in picked.items()}}


def typed(count: int) -> list[float]:
    """Return the seconds of each answer to so many lines, given to every cell magic and to `%diffuse`."""
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "nbdiffuse")
    shell.user_ns["start"] = nbdiffuse.embedded.world.sample(3_000_003).image
    durations: list[float] = []

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(lines, texts, st.sampled_from(COMMANDS))
    def try_all(line: str, body: str, command: str) -> None:
        with nothing_runs(folder):
            began = time.perf_counter()
            for _ in answers(shell, line, body, command):
                ended = time.perf_counter()
                durations.append(ended - began)
                began = ended

    with tempfile.TemporaryDirectory() as folder, nothing_runs(folder):
        # The first use of each loads the libraries.
        for command in COMMANDS:
            for line in ("start -n 3", "-n 3", "--strengh 1", "--lora"):
                list(answers(shell, line, "a cat", command))
        try_all()
    return durations


def pressed(folder: str, rounds: int) -> list[float]:
    """Return the seconds of each callback of a panel's Run and Stop."""
    kernel: Any = PanelKernel(folder)
    dice = random.Random(1)
    try:
        subshell = "" if "6.31" in kernel.asked("__import__('ipykernel').__version__") else kernel.subshell()
        for _ in range(rounds):
            for state in BUSY:
                one_round(kernel, state, subshell, dice)
        return list(json.loads(kernel.asked('seen["seconds"]')))
    finally:
        kernel.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--ipykernel", default="", help="folder of another version")
    asked = parser.parse_args()
    print(json.dumps({"an answer to a line": milliseconds(typed(asked.lines))}))
    print(json.dumps({"a panel's callback": milliseconds(pressed(asked.ipykernel, asked.rounds))}))


if __name__ == "__main__":
    main()

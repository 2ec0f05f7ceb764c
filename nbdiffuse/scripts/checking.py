"""Run a script in a fresh process and compare what it makes."""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import RunError
from .writing import Script

SAME = "same pixels"


@dataclass(frozen=True)
class Listed:
    """A program, folded away, and what is said of it.

    Parameters
    ----------
    line
        One line for people.
    text
        The program.
    """

    line: str
    text: str

    def __repr__(self) -> str:
        return self.line

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": self.line, "text/html": self.to_html()}

    def to_html(self) -> str:
        """Return HTML without scripts: the program collapsed, the line below."""
        summary = "the plain diffusers program"
        program = f"<details><summary>{summary}</summary><pre><code>{html.escape(self.text)}</code></pre></details>"
        return f"{program}<div>{html.escape(self.line)}</div>"


def check(script: Script, images: Sequence[Image.Image], offline: bool = False) -> Listed:
    """Run a script in a fresh process and say whether its pictures are the same.

    Parameters
    ----------
    script
        What to run, in a folder of its own.
    images
        RGB, what it should make, in the order of `Script.results`.
    offline
        Whether the hub's client stays on this disk.

    Returns
    -------
    The program and the line "same pixels", or how far the pictures are apart.

    Raises
    ------
    RunError
        The program failed; the line is its last one.
    """
    with tempfile.TemporaryDirectory(prefix="nbdiffuse-script-") as name:
        folder = Path(name)
        script.save(folder / "program.py")
        done = _run(folder, offline)
        if done.returncode:
            error = RunError(f"The program failed: {([*done.stderr.split(chr(10)), ''])[-2].strip() or done.returncode}.")
            error.details = done.stderr
            raise error
        made = [Image.open(folder / file).convert("RGB") for file in script.results]
    distance = max(_distance(one, other) for one, other in zip(made, images, strict=True))
    return Listed(SAME if not distance else f"other pixels: they differ by up to {distance} of 255", script.text)


def _run(folder: Path, offline: bool) -> subprocess.CompletedProcess[str]:
    import torch

    # Sums are rounded by how many threads share them.
    threads = {name: str(torch.get_num_threads()) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    package = str(Path(__file__).parents[2])
    found = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), package)))
    environment = {**os.environ, **threads, "PYTHONPATH": found, "TQDM_DISABLE": "1"}
    environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
    command = [sys.executable, "program.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _distance(one: Image.Image, other: Image.Image) -> int:
    if one.size != other.size:
        return 255
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())

"""IPython as Colab has it, and others: the extension loads, a cell runs, Tab completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VERSIONS = {"7.34.0": ("backcall", "pickleshare", "decorator"), "8.21.0": ("decorator",), "9.0.0": ("decorator",)}
"""What each needs beside what a newer one has."""
CELLS = """
import IPython
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("%load_ext nbdiffuse").raise_error()
shell.run_cell("%%img2img example:penguin -n 2 --seed 1 --out made\\na cat").raise_error()
line = "%%img2img example:pen"
print(IPython.__version__, shell.user_ns["made"].image.size, shell.complete("example:pen", line, len(line))[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_extension_loads_a_cell_runs_and_tab_completes(version: str, tmp_path: Path) -> None:
    wanted = [f"ipython=={version}", *VERSIONS[version]]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), *wanted]
    got = subprocess.run(pip, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"IPython {version} could not be fetched: {got.stderr[-200:]}")
    package = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package])}
    done = subprocess.run([sys.executable, "-c", CELLS], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{version} (128, 128) ['example:penguin']"

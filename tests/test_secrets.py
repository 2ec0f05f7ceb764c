"""No secret of a person is in anything that is kept or shown: files, store, pages, programs, widgets."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nbdiffuse

TOKEN = "hf_CanaryCanaryCanaryCanary"
CHILD = """
import json, os, sys
from pathlib import Path
import ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
import nbdiffuse

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nbdiffuse")
home = Path.home()
start = nbdiffuse.embedded.world.sample(3_000_003).image
start.save(home / "private" / "start.png")
os.chdir(sys.argv[1])
cells = [
    "%%img2img ~/private/start.png -n 2 --seed 1 --save one.png --out one\\na cat",
    "%%img2img ~/private/start.png -n 2 --seed 1,2 --save grid --out many\\na cat",
    "%%chain ~/private/start.png --save chain.png --seed 1 -n 2\\n[sd15 -s 0.5]\\na cat\\n[sd15 -s 0.5]\\na dog",
    "%%loopback ~/private/start.png --passes 2 -n 2 -s 0.6 --seed 1 --save loop.gif\\na cat",
    "%diffuse script one one.py",
    "%diffuse history",
    "%diffuse lineage one",
    "%diffuse diff one one.png",
    "%diffuse read one.png",
    "%diffuse verify one.png",
    "%%img2img https://user:hf_CanaryCanaryCanaryCanary@localhost/x.png\\na cat",
    "%%img2img ~/private/nowhere.png\\na cat",
    "%%img2img ~/private/start.png --model nobody/nothing-here -n 1\\na cat",
]
shown, told = [], []
for cell in cells:
    with capture_output() as seen:
        done = shell.run_cell(cell)
    told.append(bool(done.success))
    shown += [seen.stdout, seen.stderr, *(json.dumps(dict(one.data), default=str) for one in seen.outputs)]
panel = nbdiffuse.panel(str(home / "private" / "start.png"))
panel.run()
panel._thread.settle()
panel.wait()
with capture_output() as seen:
    panel._ipython_display_()
shown += [json.dumps(dict(one.data), default=str) for one in seen.outputs]
panel.show(panel.recipe.replace(checkpoint=str(home / "private" / "weights")))
panel._thread.settle()
state = json.dumps(ipywidgets.Widget.get_manager_state(), default=str)
classes = sorted({type(one).__name__ for one in ipywidgets.widgets.widget._instances.values()})
print(json.dumps({"told": told, "shown": shown, "state": state, "classes": classes}))
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path, Path]:
    """What a person's work with secrets around leaves: what was shown, the folders that were written, the home folder."""
    base = tmp_path_factory.mktemp("secrets")
    home, work, cache = base / "somebody", base / "work", base / "cache"
    for folder in (home / "private", work, cache):
        folder.mkdir(parents=True)
    environment = {
        **os.environ,
        "HOME": str(home),
        "HF_TOKEN": TOKEN,
        "NBDIFFUSE_CACHE": str(cache),
        "IPYTHONDIR": str(base / "ip"),
    }
    done = subprocess.run([sys.executable, "-c", CHILD, str(work)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "errors": done.stderr}, base, home


def test_the_work_was_done(left: tuple[dict[str, object], Path, Path]) -> None:
    told = left[0]["told"]
    assert told == [True] * 10 + [False] * 3
    written = {file.name for file in (left[1] / "work").rglob("*") if file.is_file()}
    assert {"one.png", "one.py", "loop.gif", "index.html", "cell-000.png"} <= written


def test_no_token_is_in_anything(left: tuple[dict[str, object], Path, Path]) -> None:
    seen, base, _ = left
    # The cell in which a person typed it is that person's own.
    shown = json.dumps({name: seen[name] for name in ("shown", "state", "errors")})
    assert TOKEN not in shown
    for file in base.rglob("*"):
        if file.is_file() and "ip" not in file.relative_to(base).parts:
            assert TOKEN.encode() not in file.read_bytes(), file


def test_no_home_folder_is_in_what_leaves(left: tuple[dict[str, object], Path, Path]) -> None:
    seen, base, home = left
    assert str(home) not in json.dumps({name: seen[name] for name in ("shown", "state")})
    for file in (base / "work").rglob("*"):
        if file.is_file():
            assert str(home).encode() not in file.read_bytes(), file


def test_nothing_takes_a_token(left: tuple[dict[str, object], Path, Path]) -> None:
    from nbdiffuse.recipes.recipe import PARAMS

    assert "Password" not in left[0]["classes"]  # type: ignore[operator]
    names = {*PARAMS}
    for name in nbdiffuse.__all__:
        value = getattr(nbdiffuse, name)
        if value is nbdiffuse.TextualInversion:
            continue  # its token is a word of prompts
        if callable(value) and not (isinstance(value, type) and issubclass(value, Exception)):
            names |= set(inspect.signature(value).parameters)
    assert not {name for name in names if "token" in name or "password" in name}

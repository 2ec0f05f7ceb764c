"""Files that are to be written: folders are made, and what cannot be written is refused before a run, by every writer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nbdiffuse import Recipe, run, sweep
from nbdiffuse.errors import FileError
from nbdiffuse.files.targets import check_file, check_folder, made_folder
from nbdiffuse.runs.chain_run import ChainRun
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.program import script_of

RECIPE = Recipe(prompt="a cat", num_inference_steps=2, seed=1)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """One of everything that saves itself, by the suffix of its file; "" for a folder."""
    result = run(RECIPE)
    chain = ChainRun(RECIPE >> Recipe(prompt="a dog", num_inference_steps=2, strength=0.5, seed=1)).run()
    loop = Loopback(RECIPE.replace(image=result.image, strength=0.5), passes=1).run()
    grid = sweep(RECIPE, seed=[1, 2]).run()
    return {
        "result.png": result,
        "result.webp": result,
        "chain.png": chain,
        "loop.gif": loop,
        "program.py": script_of(result),
        "grid": grid,
    }


NAMES = ["result.png", "result.webp", "chain.png", "loop.gif", "program.py", "grid"]


@pytest.mark.parametrize("name", NAMES)
def test_folders_above_a_file_are_made(tmp_path: Path, made: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made[name].save(tmp_path / "a" / "b" / name)
    assert (tmp_path / "a" / "b" / name).exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    made[name].save(f"~/{name}")
    assert (tmp_path / name).exists() and not Path("~").exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_writer_refuses_what_cannot_be_written(tmp_path: Path, made: Any, name: str) -> None:
    (tmp_path / "file").write_text("here")
    (tmp_path / "folder.png").mkdir()
    wrong = {
        tmp_path / "file" / name: "is a file, and a folder is needed there",
        f"~nobody-at-all/{name}": "No user here is called",
    }
    wrong[tmp_path / ("x" * 300) / name] = "at most 255 bytes"
    if name != "grid":
        wrong[tmp_path / "other.xyz"] = "`save` must be a file name that ends in"
        place = tmp_path / f"taken{Path(name).suffix}"
        place.mkdir()
        wrong[place] = "it is a folder. Write a file in it, such as"
    for path, line in wrong.items():
        with pytest.raises(FileError) as caught:
            made[name].save(path)
        assert line in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "here"


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    check_file(tmp_path / "a" / "b.png", [".png"])
    check_folder(tmp_path / "c" / "d")
    assert list(tmp_path.iterdir()) == []
    assert made_folder(tmp_path / "c" / "d").is_dir()


def test_a_place_where_no_file_can_be_made_is_refused() -> None:
    # Not even the administrator, who may write into every folder, makes files there.
    with pytest.raises(FileError, match=r"/proc/cat.png cannot be written: .* in /proc. Choose another folder."):
        check_file("/proc/cat.png", [".png"])
    with pytest.raises(FileError, match="cannot be written"):
        check_file("a\0b.png", [".png"])


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        (tmp_path / "may").touch()
    except PermissionError:
        with pytest.raises(FileError, match=r"Permission denied in .*Choose another folder"):
            check_file(tmp_path / "new" / "cat.png", [".png"])
    finally:
        tmp_path.chmod(0o700)


CELLS = {
    "%%txt2img -n 2 --save {}\na cat": ".png",
    "%%img2img start -n 2 --save {}\na cat": ".webp",
    "%%chain -n 2 --save {}\n[sd15]\na cat": ".png",
    "%%loopback start -n 2 --passes 1 --save {}\na cat": ".gif",
    "%%txt2img -n 2 --seed 1,2 --save {}\na cat": "",
    "%%chain -n 2 --save {}\n[sd15 --seed 1,2]\na cat": "",
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_refuses_its_file_before_the_run(cell: str, tmp_path: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    from nbdiffuse.sessions.session import get_session

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdiffuse")
    shell.user_ns["start"] = Image.new("RGB", (64, 64))
    (tmp_path / "file").write_text("here")
    before = len(get_session().history)
    wrong = [tmp_path / "file" / f"made{CELLS[cell]}", f"/proc/made{CELLS[cell]}"]
    if CELLS[cell]:
        (tmp_path / f"taken{CELLS[cell]}").mkdir()
        wrong += [tmp_path / f"taken{CELLS[cell]}", tmp_path / "made.xyz"]
    for path in wrong:
        outcome = shell.run_cell(cell.format(path))
        assert re.search("save|cannot be written", str(outcome.error_in_exec)), path
    assert len(get_session().history) == before
    target = tmp_path / "new" / f"made{CELLS[cell]}"
    assert shell.run_cell(cell.format(target)).success and target.exists()

"""Nothing is written outside of the folder that a person works in or names, whatever pictures, models and prompts are called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.images.picture import Picture
from nbdiffuse.panels.actions.exports import cell_of, chain_cell_of, file_of, program_of
from nbdiffuse.results import Result
from nbdiffuse.runs.program import script_of
from nbdiffuse.store import index

UP = (
    "..",
    "../..",
    "../../outside",
    "../sibling/x.png",
    "a/../../x",
    "./../x",
    "..\\..\\x",
    "x/../../../y.png",
    "....//x",
    "..%2fx",
)
ABSOLUTE = (
    "/",
    "/etc/x",
    "/tmp/outside.png",
    "//host/share/x",
    "C:\\x.png",
    "C:/x",
    "\\\\host\\x",
    "file:///tmp/x",
    "~/x",
    "~root/x",
)
SIGNS = (
    "a\0b",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "\x1b[2J",
    "\u202egnp.x",
    "\u2066x",
    "a\u2028b",
    "x:stream",
    "x|y>z<w*?",
    '"',
    "'",
    "$HOME",
    "`id`",
)
NAMES = (
    "CON",
    "con.png",
    "NUL",
    "AUX.txt",
    "COM1",
    "LPT9.png",
    ".",
    "...",
    ".hidden",
    "-rf",
    "--",
    " ",
    "",
    "x.",
    "x ",
    "index.html",
)
UNICODE = (
    "e\u0301/..",
    "\u00e9",
    "\uff0e\uff0e/x",
    "\u2025/x",
    "\u2215etc\u2215x",
    "漢" * 90,
    "a" * 300,
    "🙂" * 70,
    "\ufeff../x",
    "\ud800",
)
EVIL = (*UP, *ABSOLUTE, *SIGNS, *NAMES, *UNICODE)


def tree(folder: Path, but: Path) -> dict[str, str]:
    """Hash every file below a folder, but for those in another one."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() and not file.is_symlink() else "folder"
        for file in sorted(folder.rglob("*"))
        if but not in file.parents and file != but
    }


def export(name: str, number: int) -> int:
    """Write everything that is written under names of its own choice; return how many of them could be."""
    color = Image.new("RGB", (128, 128), (number, 20, 30))
    picture = Picture.of(color, label=name)
    try:
        mask = Picture.of(Image.new("L", (128, 128), 255), label=name)
        asked = Recipe(prompt=name or "x", image=picture, mask_image=mask, seed=1)
        recipe = resolve(asked)
        result = Result(recipe.replace(checkpoint=name or "x"), (color,), color, 1.0, {"torch": "2.9"})
    except NbdiffuseError:
        return 0
    chain = asked >> Recipe(prompt=name or "x", strength=0.5, seed=2)
    done = 0
    writers: list[Any] = [
        lambda: cell_of(asked, {}, {}),
        lambda: cell_of(asked, {"image": name, "mask_image": name}, {}),
        lambda: chain_cell_of(chain, [{}, {}], {}),
        lambda: program_of(recipe),
        lambda: script_of(result).save("program.py"),
        lambda: file_of(result),
        lambda: index.keep(result),
        lambda: result.save("made.png"),
    ]
    for write in writers:
        try:
            write()
            done += 1
        except NbdiffuseError as error:
            assert "\n" not in str(error)
    return done


@pytest.mark.parametrize("every", [pytest.param(4, id="a part"), pytest.param(1, id="full", marks=pytest.mark.slow)])
def test_no_name_leads_out_of_the_folder(every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "outer" / "inner" / "work"
    cache = work / "cache"
    work.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "outer", tmp_path / "outer" / "inner"):
        (folder / "x.png").write_bytes(b"mine")
        (folder / "sibling").mkdir()
    (work / "link").symlink_to(tmp_path / "outer" / "sibling")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(cache))
    before = tree(tmp_path, work)
    done = [export(name, number) for number, name in enumerate((*EVIL[::every], "../../x", "/tmp/outside.png", "link/x", "link"))]
    assert tree(tmp_path, work) == before
    assert sum(done) > 4 * len(done), "most of it can be written under a name of its own"
    assert not any(Path(name).exists() for name in ("/tmp/outside.png", "/etc/x"))
    assert [file for file in work.iterdir() if file.is_dir()] in ([cache, work / "link"], [work / "link", cache])

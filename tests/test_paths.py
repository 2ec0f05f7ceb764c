"""Every text that becomes a path is a path or one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import texts
from hypothesis import HealthCheck, example, given, settings
from PIL import Image

from nbdiffuse import Recipe, program, replay, resolve, verify
from nbdiffuse.cells.from_file import read
from nbdiffuse.cells.variables import find_picture
from nbdiffuse.errors import FileError, NbdiffuseError
from nbdiffuse.files.paths import here, last_part, path_of
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.exports import cell_of
from nbdiffuse.recipes.presets import preset_of
from nbdiffuse.recipes.summary import weights_label
from nbdiffuse.results import Result
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.program import script_command
from nbdiffuse.store.index import PictureIndex
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

PICTURE = Image.new("RGB", (64, 64), (1, 2, 3))
RESULT = Result(resolve(Recipe(prompt="x", seed=1)), (PICTURE,), None, 1.0, {})
SHELL: Any = type("Shell", (), {"user_ns": {"r": RESULT}, "set_next_input": staticmethod(lambda text: None)})
NO_PATHS = ("~nobody-here/x", "~nobody-here", "a\0b", "\0", "a" * 400, "a/" * 3000, "x/" + "漢" * 100)


@pytest.mark.parametrize("text", NO_PATHS)
def test_what_no_file_can_be_called_is_one_line(text: str) -> None:
    with pytest.raises(FileError, match="`file` must be a path") as caught:
        path_of(text)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)
    assert here(text) is None


def test_a_path_is_the_users_own_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~odd").mkdir()
    assert path_of("~/x.png") == tmp_path / "x.png" and path_of(Path("a/b")) == Path("a/b")
    assert here("~") == tmp_path and here("./~odd") == Path("./~odd") and here("~odd") is None and here("") is None


LAST = {"/home/a/m": "m", "C:\\Users\\m": "m", "~/m": "m", "~": "", "m": "m", "../..": "", "/": "", "a/m/": "m", "C:": ""}


@pytest.mark.parametrize(("text", "last"), LAST.items())
def test_the_last_part_is_that_of_any_system(text: str, last: str) -> None:
    assert last_part(text) == last


def places(text: str, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return every place where a text becomes a path, by name."""
    grid = Grid(Sweep.of(RESULT.recipe), store=None)
    picture = Picture.of(PICTURE, label=text)
    return {
        "path": lambda: path_of(text),
        "here": lambda: here(text),
        "picture": lambda: find_picture(text, {}),
        "read": lambda: read(text),
        "replay": lambda: replay(text),
        "verify": lambda: verify(text),
        "save": lambda: RESULT.save(f"{text}.png"),
        "save as": lambda: RESULT.save(text),
        "grid": lambda: grid.save(f"{folder}/{text}" if "/" not in text else text) if text.startswith(("~", "\0")) else None,
        "script": lambda: script_command(SHELL, ["r", f"{text}.py"]),
        "store": lambda: Store(text).get(RESULT.recipe, {}),
        "picture_index": lambda: PictureIndex(folders=[text]).made("sha256:" + 64 * "0"),
        "model": lambda: preset_of(text),
        "resolve": lambda: resolve(Recipe(prompt="x", model=text)),
        "checkpoint": lambda: program(Recipe(prompt="x", seed=1, checkpoint=text)),
        "label": lambda: weights_label(RESULT.recipe.replace(checkpoint=text)),
        "lora": lambda: program(Recipe(prompt="x", seed=1, lora=f"{text}.safetensors")),
        "controlnet": lambda: program(Recipe(prompt="x", seed=1, controlnet=f"a/{text}", control_image=PICTURE)),
        "controlnet name": lambda: program(Recipe(prompt="x", seed=1, controlnet=text, control_image=PICTURE)),
        "share": lambda: Provenance(RESULT.recipe.replace(checkpoint=text, lora=text)).to_json(),
        "export": lambda: cell_of(Recipe(prompt="x", image=picture), {"image": None}, {}),
    }


def tried(text: str, folder: Path) -> None:
    for name, use in places(text, folder).items():
        try:
            use()
        except NbdiffuseError as error:
            assert str(error), name


ODD = ("-", "--", ".", "..", "/", "", "con", "a" * 250, "x\ny", "\u202e", "a/-", "a/b--c", "b/.git")


@pytest.mark.parametrize("text", [*NO_PATHS, *ODD])
def test_every_place_takes_any_text(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried(text, tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts)
@example(text="~nobody/\0")
def test_every_place_takes_any_hostile_text(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("paths")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tried(text.replace("/", "_"), folder)


def test_a_worker_says_in_one_line_that_a_word_is_no_checkpoint(session: Any) -> None:
    for text in ("~nobody-here/m", "a\0b", "a" * 400):
        with pytest.raises(NbdiffuseError, match="No checkpoint is called"):
            session.run(Recipe(prompt="x", seed=1, num_inference_steps=1, checkpoint=text))

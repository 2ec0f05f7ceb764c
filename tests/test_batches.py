"""Batches: folders, archives and tables into folders, byte for byte, whatever is broken in them and whenever they stop."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.batches import tables
from nbdiffuse.batches.batch import Batch
from nbdiffuse.batches.layout import result_files
from nbdiffuse.batches.prompting import filled
from nbdiffuse.errors import FileError, Interrupted, ParameterError
from nbdiffuse.metadata import image_files

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=2, strength=0.5, seed=7, width=64, height=64)


def painted(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven pictures in two sizes, one that is broken, and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        painted(number).save(folder / f"p{number}.png")
    painted(5, (96, 64)).save(folder / "wide.jpg")
    painted(6, (96, 64)).save(folder / "wide.webp")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    (folder / "notes.txt").write_text("nothing")
    return folder


def pixels(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def states(made: Batch) -> list[str]:
    return [row["state"] for row in made.records()]


def test_a_folder_becomes_a_folder_and_what_is_broken_is_named(photos: Path, tmp_path: Path, session: Any) -> None:
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out").run()
    assert list(made.failed) == ["broken.png"] and made.missing == 1 and len(made) == 8
    files = {row["name"]: row["file"] for row in made.records()}
    assert files["p0.png"] == "p0.png" and (files["wide.jpg"], files["wide.webp"]) == ("wide-jpg.png", "wide-webp.png")
    for name, file in files.items():
        if name != "broken.png":
            alone = session.run(RECIPE.replace(image=photos / name))
            # Rows that share a model call round its sums in another order.
            assert np.abs(pixels(tmp_path / "out" / file) - np.asarray(alone.image).astype(int)).max() <= 1
    assert any("1 file is left alone" in line for line in made.notices)
    assert any(line.startswith("1 of 8 failed: ") and "broken.png" in line for line in made.notices)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<li") == 8 and 'src="wide-jpg.png"' in page and str(tmp_path) not in page
    assert made._repr_mimebundle_()["image/png"]


def test_rows_that_run_alone_are_byte_equal_to_single_runs(photos: Path, tmp_path: Path, session: Any) -> None:
    nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", together=1).run()
    for name in ("p0.png", "p3.png"):
        alone = session.run(RECIPE.replace(image=photos / name))
        assert (pixels(tmp_path / "out" / name) == np.asarray(alone.image)).all()


def test_nothing_is_made_twice_and_a_changed_picture_is_made_anew(photos: Path, tmp_path: Path) -> None:
    open_seed = RECIPE.replace(seed=None)
    first = nbdiffuse.batch(open_seed, photos, folder=tmp_path / "out").run()
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    painted(77).save(photos / "p2.png")
    second = nbdiffuse.batch(open_seed, photos, folder=tmp_path / "out").run()
    assert second.recipe.seed == first.recipe.seed
    assert {row["name"]: row["state"] for row in second.records()} == {
        row["name"]: {"p2.png": "made", "broken.png": "failed"}.get(row["name"], "kept") for row in second.records()
    }
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert {name for name in again if again[name] != stamps[name]} == {"p2.png"}


def test_a_folder_with_something_else_is_refused_before_anything_runs(photos: Path, tmp_path: Path) -> None:
    nbdiffuse.batch(RECIPE, [photos / "p0.png"], folder=tmp_path / "out").run()
    with pytest.raises(ParameterError, match="must be a folder without another batch"):
        nbdiffuse.batch(RECIPE.replace(prompt="a dog"), photos, folder=tmp_path / "out")
    with pytest.raises(ParameterError, match=r"must be a folder without broken.png, which would be replaced"):
        nbdiffuse.batch(RECIPE, photos, folder=photos)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="where pictures are"):
        nbdiffuse.batch(RECIPE, tmp_path / "empty", folder=tmp_path / "x")


def test_an_archive_leads_nowhere_else(tmp_path: Path) -> None:
    painted(1).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "shots.zip", "w") as archive:
        for name in ("cats/tom.png", "../../evil.png", "/abs/olute.png", "C:\\con.png", "__MACOSX/x.png"):
            archive.write(tmp_path / "a.png", name)
    made = nbdiffuse.batch(RECIPE, tmp_path / "shots.zip", folder=tmp_path / "deep" / "er" / "out").run()
    assert made.missing == 0 and len(made) == 4
    written = {path.relative_to(tmp_path / "deep/er/out").as_posix() for path in (tmp_path / "deep").rglob("*.png")}
    assert written == {"cats/tom.png", "evil.png", "abs/olute.png", "C_/con_.png"}
    assert not (tmp_path / "evil.png").exists() and not (tmp_path / "deep" / "evil.png").exists()


@pytest.mark.quick
@pytest.mark.parametrize(
    "names", [["a.jpg", "A.png", "a.jpg"], ["a-jpg.png", "a.jpg", "a.png"], ["..", "", ".hidden.png", "x" * 400]]
)
def test_no_two_results_share_a_file(names: list[str]) -> None:
    files = result_files(names)
    assert len({file.lower() for file in files}) == len(names)
    assert all(".." not in Path(file).parts and not Path(file).is_absolute() and len(Path(file).name) <= 130 for file in files)


def test_a_table_has_fields_in_its_columns(photos: Path, tmp_path: Path, session: Any) -> None:
    rows = [
        {"image": "p0.png", "animal": "cat", "strength": "0.5", "seed": "3"},
        {"image": "p0.png", "animal": "dog", "strength": "", "seed": "4"},
        {"image": "nowhere.png", "animal": "fox", "strength": "", "seed": "4"},
    ]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (photos / "list.csv").write_text("\n".join(lines), "utf-8")
    recipe = RECIPE.replace(prompt="a {animal} in the snow", seed=None)
    made = nbdiffuse.batch(recipe, table=photos / "list.csv", folder=tmp_path / "out").run()
    assert [row["file"] for row in made.records()] == ["p0-png.png", "p0-png-2.png", "nowhere.png"]
    assert list(made.failed) == ["nowhere.png"] and made.missing == 1
    said = image_files.read(tmp_path / "out" / "p0-png-2.png").provenance
    assert said is not None and (said.recipe.prompt, said.recipe.seed) == ("a dog in the snow", 4)
    held = [{**row, "image": photos / row["image"]} for row in rows[:2]]
    same = nbdiffuse.batch(recipe, table=held, folder=tmp_path / "out3").run()
    assert (pixels(tmp_path / "out3" / "p0-png.png") == pixels(tmp_path / "out" / "p0-png.png")).all() and same.missing == 0


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("image,strenght\np0.png,0.5\n", "`strenght` is no field that a table's column can be. Did you mean 'strength'?"),
        ("image,strength\np0.png,much\n", "`strength` must be a number in [0, 1], got 'much'."),
        ("image\n", "`table` must be a table with at least one row"),
        ("image\np0.png,5,6\n", "line 2 of list.csv has"),
    ],
)
def test_a_table_that_cannot_be_is_one_line(content: str, line: str, photos: Path, tmp_path: Path) -> None:
    (photos / "list.csv").write_text(content)
    with pytest.raises(ParameterError) as refused:
        nbdiffuse.batch(RECIPE, table=photos / "list.csv", folder=tmp_path / "out")
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.quick
def test_braces_that_no_column_names_stay() -> None:
    assert filled("a {animal}, {unknown} {a b}", {"animal": "c{at}"}) == "a c{at}, {unknown} {a b}"


def test_each_picture_with_each_value(photos: Path, tmp_path: Path) -> None:
    made = nbdiffuse.batch(RECIPE, [photos / "p0.png", photos / "p1.png"], folder=tmp_path / "out", guidance_scale=[1, 5]).run()
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "p0-guidance-scale-1.png",
        "p0-guidance-scale-5.png",
        "p1-guidance-scale-1.png",
        "p1-guidance-scale-5.png",
    ]
    chosen = made.again(["p1-guidance-scale-5.png"], tmp_path / "again", num_inference_steps=4).run()
    assert len(chosen) == 1 and chosen.records()[0]["steps"] == 2
    with pytest.raises(ParameterError, match="names of the batch's rows"):
        made.again(["p9.png"], tmp_path / "again")


def test_one_failure_ends_it_where_that_is_asked(photos: Path, tmp_path: Path) -> None:
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", on_error="stop")
    with pytest.raises(nbdiffuse.NbdiffuseError, match=r"broken\.png"):
        made.run()
    assert (tmp_path / "out" / "index.html").exists() and "failed" in states(made) and "missing" in states(made)


def test_a_stop_keeps_what_is_finished_and_goes_on(photos: Path, tmp_path: Path) -> None:
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", together=2)
    stopped = threading.Event()

    def stop_after_two() -> None:
        if made.missing <= 6 and not stopped.is_set():
            stopped.set()
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"Stopped with \d of 8 finished. Run it again for the rest."):
        made.run(stop_after_two)
    finished = {row["name"] for row in made.records() if row["state"] == "made"}
    assert 2 <= len(finished) < 7
    rest = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out").run()
    assert {row["name"] for row in rest.records() if row["state"] == "kept"} == finished and rest.missing == 1


def test_a_full_disk_ends_it_and_loses_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = nbdiffuse.Result.save, [0]

    def save(self: Any, path: Any) -> Any:
        count[0] += 1
        if count[0] > 3:
            raise FileError("out/p3.png cannot be written: No space left on device.")
        return real(self, path)

    monkeypatch.setattr(nbdiffuse.Result, "save", save)
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", together=2)
    with pytest.raises(FileError, match="No space left"):
        made.run()
    monkeypatch.undo()
    assert states(made).count("made") == 3 == len(list((tmp_path / "out").glob("*.png")))
    assert nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out").run().missing == 1


CHILD = """
import sys, nbdiffuse
recipe = nbdiffuse.Recipe.from_json(sys.argv[3])
nbdiffuse.batch(recipe, sys.argv[1], folder=sys.argv[2], together=2).run()
"""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_batch_goes_on_and_every_result_is_whole(tmp_path: Path, kills: int) -> None:
    photos, out, dice = tmp_path / "many", tmp_path / "out", random.Random(kills)
    photos.mkdir()
    for number in range(3 * kills + 4):
        painted(number).save(photos / f"{number:03d}.png")
    recipe = RECIPE.replace(seed=None)
    seen: dict[str, bytes] = {}
    for _ in range(kills):
        count = len(list(out.glob("*.png")))
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(photos), str(out), recipe.to_json()])
        while len(list(out.glob("*.png"))) <= count and child.poll() is None:
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for path in out.glob("*.png"):
            content = path.read_bytes()
            assert seen.setdefault(path.name, content) == content
            pixels(path)
    last = nbdiffuse.batch(recipe, photos, folder=out).run()
    assert last.missing == 0 and [row["name"] for row in last.records() if row["state"] == "kept"] == sorted(seen)
    assert all((out / name).read_bytes() == content for name, content in seen.items())
    assert json.loads((out / "batch.json").read_text())["seed"] == last.recipe.seed


def test_a_cell_takes_a_folder_in_the_place_of_a_picture(kernel: Any, photos: Path, tmp_path: Path) -> None:
    outcome = kernel.run(f"%%img2img {photos} -n 2 -s 0.5 --seed 7 --width 64 --height 64 --out many\na cat in the snow")
    assert outcome.ok, outcome.outputs
    assert re.match(r"8 pictures in 2 sizes, (8 steps|about \d+ s); results go to", outcome.texts()[0])
    assert len(list((tmp_path / "photos-img2img").glob("*.png"))) == 7
    assert kernel.run("print(type(many).__name__, many.missing)").stream.strip() == "Batch 1"


def test_a_cell_takes_a_table(kernel: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "list.jsonl").write_text('{"image": "p0.png", "animal": "cat"}\n{"image": "p1.png", "animal": "dog"}\n')
    save = tmp_path / "made"
    line = f"--table {photos / 'list.jsonl'} -n 2 -s 0.5 --seed 7 --width 64 --height 64 --save {save}"
    assert kernel.run(f"%%img2img {line}\na {{animal}}").ok
    said = image_files.read(save / "p1.png").provenance
    assert said is not None and said.recipe.prompt == "a dog"


def test_no_result_is_held_after_it_is_written(
    photos: Path, tmp_path: Path, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []
    real = nbdiffuse.Result.save

    def save(self: Any, path: Any) -> Any:
        held.append(weakref.ref(self))
        return real(self, path)

    monkeypatch.setattr(nbdiffuse.Result, "save", save)
    before = list(session.history)
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out").run()
    gc.collect()
    assert len(held) == 7 == len(made) - made.missing and list(session.history) == before
    assert not [one for one in held if one() is not None]


@pytest.mark.quick
def test_a_pandas_table_leaves_open_what_it_does_not_say() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"image": ["a.png", "b.png"], "seed": [3, None], "prompt": ["x", None], "strength": [0.5, float("nan")]}
    )
    read, folder = tables.rows_of(frame)
    assert tables.is_table(frame) and [tables.field_values(row, folder) for row in read] == [
        {"seed": 3, "prompt": "x", "strength": 0.5},
        {},
    ]
    assert tables.image_of(read[1], folder) == Path("b.png")

"""What is measured of a batch: the numbers of single results, on every surface, and never in the way of the pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_batches import RECIPE, painted
from test_films import write_gif

import nbdiffuse
from nbdiffuse.command_line.main import main
from nbdiffuse.errors import CheckpointError, NbdiffuseError, ParameterError
from nbdiffuse.images import metrics

SIZE = "-n 2 -s 0.5 --seed 7 --width 64 --height 64"
NAMES = ("ssim", "kept", "shift", "drift", "identity", "prompt_score", "noise_share")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures and one that is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        painted(number).save(folder / f"p{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    return folder


def test_the_numbers_are_those_of_single_results_and_stand_in_table_page_and_notices(
    photos: Path, tmp_path: Path, session: Any
) -> None:
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", together=1, measure=NAMES).run()
    page = (tmp_path / "out" / "index.html").read_text()
    for row in made.records():
        if row["state"] == "failed":
            assert all(row[name] is None for name in NAMES)
            continue
        alone = session.run(RECIPE.replace(image=photos / row["name"]))
        found = alone.compare()
        assert (row["kept"], row["shift"], row["drift"]) == (found.kept, found.shift, found.drift)
        assert row["ssim"] == metrics.ssim(alone.initial, alone.image) and row["noise_share"] == alone.noise_share
        # What is beside a picture in a call changes a CLIP's last digits.
        assert row["identity"] == pytest.approx(found.identity, abs=1e-5) and -1 <= row["prompt_score"] <= 1
        assert f'data-kept="{row["kept"]:.4g}"' in page and f"drift {row['drift']:.2f}" in page
    assert '<option value="kept up">kept: lowest first</option>' in page
    values = {row["name"]: row["drift"] for row in made.records() if row["drift"] is not None}
    worst = max(values, key=lambda name: values[name])
    line = f"drift: {sum(values.values()) / 3:.2f} on average, highest {values[worst]:.2f} ({worst})"
    assert line in made.notices and [*made.to_frame()["kept"].dropna()] == [
        r["kept"] for r in made.records() if r["kept"] is not None
    ]


def test_what_is_there_is_measured_later_and_measuring_makes_nothing_anew(photos: Path, tmp_path: Path) -> None:
    how = {"folder": tmp_path / "out"}
    made = nbdiffuse.batch(RECIPE, photos, **how)
    with pytest.raises(ParameterError, match="No row of the batch is finished"):
        made.measure("kept")
    assert "kept" not in made.run().records()[0]
    later = made.measure("kept").records()
    again = nbdiffuse.batch(RECIPE, photos, **how, measure=["kept"]).run()
    assert [row["kept"] for row in again.records()] == [row["kept"] for row in later]
    assert {row["state"] for row in again.records()} == {"kept", "failed"}
    chosen = again.again(["p1.png"], tmp_path / "other", prompt="a dog")
    assert chosen.run().records()[0]["kept"] is not None


def test_a_model_that_judges_and_is_missing_costs_no_picture(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdiffuse.pipelines import scorers

    def broken(*_: Any) -> list[float]:
        raise CheckpointError("no CLIP is here.")

    monkeypatch.setattr(scorers, "identities", broken)
    made = nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", measure=["identity", "kept"]).run()
    assert made.missing == 1 and "`identity` was not measured: no CLIP is here." in made.notices
    assert sum(row["kept"] is not None for row in made.records()) == 3


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        (["keptt"], "`metric` must be one of"),
        ("kept", "`measure` must be names of metrics"),
        (["seam"], "`seam` needs a mask"),
        (["flicker"], "`flicker` needs the frames of a film"),
    ],
)
def test_what_cannot_be_measured_is_a_line_before_anything_runs(measure: Any, line: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as refused:
        nbdiffuse.batch(RECIPE, photos, folder=tmp_path / "out", measure=measure)
    assert line in str(refused.value) and "\n" not in str(refused.value) and not (tmp_path / "out").exists()
    with pytest.raises(ParameterError, match="`kept` needs an initial picture"):
        nbdiffuse.batch(RECIPE, prompts=["a cat"], folder=tmp_path / "out", measure=["kept"])
    with pytest.raises(NbdiffuseError, match="`flicker` needs the frames of a film, and a grid has none"):
        nbdiffuse.sweep(RECIPE.replace(image=painted(0)), seed=[1, 2]).check("flicker")


def test_the_flicker_of_a_film_stands_beside_that_of_its_source(tmp_path: Path) -> None:
    clip = write_gif(tmp_path / "clip.gif", count=4)
    made = nbdiffuse.batch(RECIPE, clip, film=tmp_path / "made.gif", measure=["flicker", "kept"]).run()
    first, *others = made.records()
    assert first["flicker"] is None and str(made.flicker) in made.notices
    assert made.flicker.result == pytest.approx(sum(row["flicker"] for row in others) / 3)
    assert made.flicker.source == pytest.approx(sum(row["source_flicker"] for row in others) / 3)
    assert "flicker: highest first" in (made.folder / "index.html").read_text()
    # A frame that jumps is found by its number.
    Image.new("RGB", (64, 64), "white").save(made.folder / made.rows[2].file)
    jumped = [row["flicker"] for row in made.measure("flicker").records()[1:]]
    assert max(jumped) in jumped[1:] and max(jumped) > max(row["flicker"] for row in others)


def test_a_cell_and_a_command_measure_many_pictures(
    kernel: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = kernel.run(f"%%img2img {photos} {SIZE} --measure kept,drift --out many\na cat in the snow")
    assert outcome.ok and any(re.match(r"kept: \d\.\d\d on average, lowest", text) for text in outcome.texts()), outcome.outputs
    assert kernel.run("print(many.records()[1]['drift'] >= 0)").stream.strip() == "True"
    clip = write_gif(tmp_path / "clip.gif", count=3)
    film = kernel.run(f"%%img2img {clip} {SIZE} --measure flicker --save {tmp_path / 'a.gif'}\na cat in the snow")
    assert film.ok and any("the source's by" in text for text in film.texts()), film.outputs
    refused = kernel.run(f"%%img2img {photos} {SIZE} --save {tmp_path / 'no'} --measure flicker\na cat")
    assert not refused.ok and "`flicker` needs the frames of a film" in refused.reply["evalue"]
    monkeypatch.chdir(tmp_path)
    words = ["img2img", "photos", "--prompt", "a cat in the snow", *SIZE.split(), "--out", "made", "--measure", "kept"]
    assert main([*words, "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(line.get("text", line.get("line", "")).startswith("kept: ") for line in told if "notice" in line.values()), told

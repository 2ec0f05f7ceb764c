"""Films out: the source's times and sound, frames that have something of those before them, and flicker as a number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_films import RECIPE, shot, write_gif, write_mp4

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.batches import films
from nbdiffuse.batches.film_writer import write_film
from nbdiffuse.batches.flicker import Flicker, flicker
from nbdiffuse.command_line.main import main
from nbdiffuse.errors import FileError, ParameterError
from nbdiffuse.metadata import image_files


def frames(path: Path) -> list[np.ndarray[Any, Any]]:
    film = films.film_of(path, "all")
    return [np.asarray(film.frame(number).convert("RGB")).astype(int) for number in film.chosen]


def sound(path: Path) -> list[tuple[Fraction, bytes]]:
    """Return the packets of a film's sound with their times."""
    import av

    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.pts is not None]
        return [(packet.pts * Fraction(packet.time_base), bytes(packet)) for packet in packets]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"f{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        shot(number).save(file)
    return files


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".gif", ".webp", ".webm"])
def test_a_film_has_its_sources_times_whatever_the_file(suffix: str, pictures: list[Path], tmp_path: Path) -> None:
    source = films.film_of(write_gif(tmp_path / "clip.gif"))
    target = tmp_path / f"made{suffix}"
    assert write_film(target, pictures, source.begins, source.seconds, source) == []
    made = films.film_of(target, "all")
    assert [round(float(time), 2) for time in made.times] == [0, 0.1, 0.3, 0.35, 0.4]
    worst = [np.abs(np.asarray(shot(number)).astype(int) - frame).mean() for number, frame in enumerate(frames(target))]
    assert max(worst) < 6
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_the_sound_is_copied_in_the_part_that_is_meant_and_what_a_file_does_not_take_is_said(
    pictures: list[Path], tmp_path: Path
) -> None:
    source = films.film_of(write_mp4(tmp_path / "clip.mp4", count=20))
    assert write_film(tmp_path / "whole.mp4", pictures * 4, source.begins, source.seconds, source) == []
    given, made = sound(tmp_path / "clip.mp4"), sound(tmp_path / "whole.mp4")
    # What lies before the first frame, an encoder's lead-in, is left out.
    assert [content for time, content in given if time >= 0] == [content for _, content in made]
    part = films.film_of(tmp_path / "clip.mp4", "5:10")
    write_film(tmp_path / "part.mp4", pictures, part.begins, part.span[1] - part.span[0], part)
    kept = sound(tmp_path / "part.mp4")
    assert [content for _, content in kept] == [content for time, content in given if 0.5 <= time < 1.0]
    assert 0 <= kept[0][0] < 0.05
    said = write_film(tmp_path / "part.webm", pictures, part.begins, part.span[1] - part.span[0], part)
    assert said == ["The sound of clip.mp4 is aac, which a .webm file does not take: it is left out."]


def test_a_film_goes_in_and_comes_out_and_goes_on(tmp_path: Path, session: Any) -> None:
    clip, how = write_mp4(tmp_path / "clip.mp4"), {"film": tmp_path / "made.mp4", "carry": 0.3}
    made = nbdiffuse.batch(RECIPE, clip, **how).run()
    assert made.missing == 0 and made.folder == tmp_path / "made-frames" and len(frames(tmp_path / "made.mp4")) == 5
    # A frame by hand: the source's, with three tenths of the result before it.
    before = Image.open(made.folder / "clip-00001.png").convert("RGB")
    start = Image.blend(films.film_of(clip).frame(2), before, 0.3)
    alone = session.run(RECIPE.replace(image=start))
    assert Image.open(made.folder / "clip-00002.png").tobytes() == alone.image.tobytes()
    (made.folder / "clip-00003.png").unlink()
    (tmp_path / "made.mp4").unlink()
    again = nbdiffuse.batch(RECIPE, clip, **how).run()
    assert [row["state"] for row in again.records()] == ["kept", "kept", "kept", "made", "kept"]
    assert (tmp_path / "made.mp4").exists() and "<video" in again.bundle()["text/html"]


def test_flicker_tells_the_same_noise_from_another_one_in_each_frame(tmp_path: Path) -> None:
    clip = write_gif(tmp_path / "clip.gif", count=6)
    same = nbdiffuse.batch(RECIPE, clip, film=tmp_path / "same.gif").run()
    every = nbdiffuse.batch(RECIPE, clip, film=tmp_path / "every.gif", seed_every=1).run()
    assert same.flicker.ratio < every.flicker.ratio and "flicker" in str(same.flicker)
    assert same.flicker.source == every.flicker.source > 0
    later = nbdiffuse.batch(RECIPE, clip, film=tmp_path / "later.gif", seed_every=4).run()
    said = [image_files.read(later.folder / row["file"]).provenance for row in later.records()]
    assert [one.recipe.seed for one in said if one] == [7, 7, 7, 7, 8, 8]


def test_noise_that_walks_changes_little_by_little_and_each_frame_says_how(tmp_path: Path, session: Any) -> None:
    folder = tmp_path / "still"
    folder.mkdir()
    for number in range(8):
        shot(0).save(folder / f"p{number}.png")
    how = {"rate": 12, "measure": ["flicker"], "together": 1}
    made = nbdiffuse.batch(RECIPE, folder, film=tmp_path / "walk.gif", noise_walk=3, **how).run()
    files = [made.folder / row["file"] for row in made.records()]
    said = [one.recipe for file in files if (one := image_files.read(file).provenance)]
    assert {one.seed for one in said} == {7}
    assert [one.get("variation_strength") for one in said] == pytest.approx([None, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, None, 1 / 3])
    assert [one.get("variation_seed") for one in said] == [None, 8, 8, 8, 8, 8, None, 9]
    for number, file in enumerate(files):
        given = {"image": folder / f"p{number}.png"}
        assert session.run(said[number].replace(**given)).image.tobytes() == Image.open(file).tobytes()
    jumps = nbdiffuse.batch(RECIPE, folder, film=tmp_path / "jump.gif", seed_every=3, **how).run()
    steps = [row["flicker"] for row in made.records()[1:]]
    assert min(steps) > 0 and max(steps) < 0.5 * max(row["flicker"] for row in jumps.records()[1:])
    with pytest.raises(ParameterError, match="`noise_walk` is not taken by edit"):
        nbdiffuse.batch(Recipe(model="edit", prompt="make it night"), folder, film=tmp_path / "x.gif", noise_walk=3)
    masked = RECIPE.replace(mask_image=Image.new("L", (64, 64), 255))
    with pytest.raises(ParameterError, match="`noise_walk` must be left out with a mask"):
        nbdiffuse.batch(masked, folder, film=tmp_path / "x.gif", noise_walk=3)


@pytest.mark.quick
def test_flicker_is_the_mean_change_of_neighbours() -> None:
    grey = [Image.new("RGB", (8, 8), (level,) * 3) for level in (0, 10, 40)]
    assert flicker(zip(grey, [grey[0], grey[1], grey[1]], strict=True)) == Flicker(20.0, 5.0)
    assert Flicker(20.0, 5.0).ratio == 4 and Flicker(0.0, 0.0).ratio == 1 and Flicker(1.0, 0.0).ratio == float("inf")
    assert flicker([]) == Flicker(0.0, 0.0)


def test_a_frame_that_failed_is_shown_as_the_one_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        shot(number).save(folder / f"p{number}.png")
    (folder / "p1.png").write_bytes(b"nothing")
    made = nbdiffuse.batch(RECIPE, folder, film=tmp_path / "made.gif", rate=10).run()
    assert list(made.failed) == ["p1.png"] and any("1 frames failed" in line for line in made.notices)
    assert films.film_of(tmp_path / "made.gif").seconds == Fraction(4, 10)


@pytest.mark.parametrize(
    ("how", "error", "line"),
    [
        ({"film": "x.avi"}, FileError, "`film` must be a file name that ends in"),
        ({"carry": 1}, ParameterError, "`carry` must be a number in [0, 1), got 1."),
        ({"carry": "x"}, ParameterError, "`carry` must be a number in [0, 1), got 'x'."),
        ({"seed_every": 0}, ParameterError, "`seed_every` must be a whole number of frames, at least 1, got 0."),
        ({"noise_walk": 1}, ParameterError, "`noise_walk` must be a whole number of frames, at least 2, got 1."),
        ({"noise_walk": 3, "seed_every": 3}, ParameterError, "`noise_walk` must be left out with `seed_every`"),
        ({"rate": 12}, ParameterError, "`rate` must be left out for a film, whose own is kept"),
        ({"film": None, "folder": "out", "rate": 12}, ParameterError, "`rate` must be given with a film"),
        ({"film": None}, ParameterError, "`folder` must be given: results go there."),
        ({"seed": [1, 2]}, ParameterError, "`film` must be of one result for each frame, got '10 results'."),
    ],
)
def test_what_makes_no_film_is_a_line_before_anything_runs(
    how: dict[str, Any], error: type[Exception], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_gif(tmp_path / "clip.gif")
    with pytest.raises(error) as refused:
        nbdiffuse.batch(RECIPE, clip, **{"film": "made.gif", **how})
    assert line in str(refused.value) and "\n" not in str(refused.value) and [*tmp_path.iterdir()] == [clip]


def test_a_carried_film_has_no_mask(tmp_path: Path) -> None:
    masked = RECIPE.replace(mask_image=Image.new("L", (64, 64), 255))
    with pytest.raises(ParameterError, match="`carry` must be left out with a mask"):
        nbdiffuse.batch(masked, write_gif(tmp_path / "clip.gif"), film=tmp_path / "x.gif", carry=0.3)


def test_a_cell_and_a_command_make_films(kernel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, size = write_gif(tmp_path / "clip.gif"), "-n 2 -s 0.5 --seed 7 --width 64 --height 64"
    outcome = kernel.run(f"%%img2img {clip} {size} --carry 0.3 --save {tmp_path / 'a.gif'} --out made\na cat in the snow")
    assert outcome.ok and len(frames(tmp_path / "a.gif")) == 5, outcome.outputs
    assert kernel.run("print(type(made).__name__, made.missing)").stream.strip() == "FilmBatch 0"
    # A picture in `--save` is one where nothing says that there are many, and .webp is a picture's, too.
    assert kernel.run(f"%%img2img {clip} {size} --frames 1:3 --save {tmp_path / 'b.webp'}\na cat in the snow").ok
    assert len(frames(tmp_path / "b.webp")) == 2
    # A loopback's animation is its passes, and one picture is no film.
    looped = kernel.run(f"%%loopback {clip} --passes 2 {size} --save {tmp_path / 'loop.gif'} --out loop\na cat")
    assert looped.ok and kernel.run("print(type(loop).__name__)").stream.strip() == "Loopback", looped.outputs
    refused = kernel.run(f"%%img2img start {size} --save {tmp_path / 'one.gif'}\na cat")
    assert not refused.ok and "must be a file name that ends in" in refused.reply["evalue"]
    refused = kernel.run(f"%%img2img start {size} --rate 3\na cat")
    assert not refused.ok and "`--rate` must go with many pictures" in refused.reply["evalue"]
    monkeypatch.chdir(tmp_path)
    words = ["img2img", "clip.gif", "--prompt", "a cat in the snow", "--carry", "0.3", *size.split()]
    assert main([*words, "--out", "c.gif"]) == 0
    assert all((one == other).all() for one, other in zip(frames(tmp_path / "a.gif"), frames(tmp_path / "c.gif"), strict=True))
    assert main([*words, "--carry", "much"]) == 2

"""Films: frames in, whatever the file; what cannot be read is a line."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.batches import films
from nbdiffuse.errors import ImageInputError, NbdiffuseError, ParameterError

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=2, strength=0.5, seed=7, width=64, height=64)


def shot(number: int) -> Image.Image:
    """A bright square that moves over a picture of its own."""
    pixels = np.full((64, 64, 3), (40, 60, 30 * number), np.uint8)
    pixels[8:24, 4 * number : 4 * number + 16] = 230
    return Image.fromarray(pixels)


def write_gif(path: Path, count: int = 5) -> Path:
    shots = [shot(number) for number in range(count)]
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=[100, 200, *[50] * (count - 2)], loop=0)
    return path


def write_mp4(path: Path, count: int = 5, sound: bool = True, rate: int = 10) -> Path:
    """Write a film with a tone in it."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for number in range(count):
            container.mux(video.encode(av.VideoFrame.from_image(shot(number))))
        container.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(44100 * count // rate) / 16).astype(np.float32)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44100, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def closest(image: Image.Image, count: int = 5) -> int:
    """Return which of the shots a picture shows."""
    far = [np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(shot(number))).mean() for number in range(count)]
    assert min(far) < 4
    return int(np.argmin(far))


@pytest.fixture(params=["gif", "mp4"])
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_gif(tmp_path / "clip.gif") if request.param == "gif" else write_mp4(tmp_path / "clip.mp4")


def test_frames_are_read_in_any_order(film: Path) -> None:
    found = films.film_of(film, "all")
    assert found.size == (64, 64) and found.chosen == (0, 1, 2, 3, 4)
    assert [closest(found.frame(number)) for number in (0, 1, 3, 2, 4, 0)] == [0, 1, 3, 2, 4, 0]
    assert films.film_of(film, "1:4:2").chosen == (1, 3) and films.film_of(film, slice(3, None)).chosen == (3, 4)
    with pytest.raises(ImageInputError, match=r"a film with a frame 9, got .* It ends before"):
        found.frame(9)


def test_a_film_knows_when_its_frames_are_shown(tmp_path: Path) -> None:
    gif = films.film_of(write_gif(tmp_path / "clip.gif"))
    assert [float(time) for time in gif.times] == [0, 0.1, 0.3, 0.35, 0.4] and gif.seconds == Fraction(9, 20)
    film = films.film_of(write_mp4(tmp_path / "clip.mp4"), "1:4:2")
    assert [float(time) for time in film.times] == [0, 0.1, 0.2, 0.3, 0.4] and film.seconds == Fraction(1, 2)
    assert film.begins == [0, Fraction(1, 5)] and film.span == (Fraction(1, 10), Fraction(1, 2))


def test_the_frames_of_a_film_are_a_batch(film: Path, tmp_path: Path, session: Any) -> None:
    made = nbdiffuse.batch(RECIPE, film, frames="1:5:2", folder=tmp_path / "out", together=1).run()
    assert [row["file"] for row in made.records()] == ["clip-00001.png", "clip-00003.png"] and made.missing == 0
    alone = session.run(RECIPE.replace(image=films.film_of(film).frame(3)))
    assert Image.open(tmp_path / "out" / "clip-00003.png").tobytes() == alone.image.tobytes()
    again = nbdiffuse.batch(RECIPE, film, frames="1:5:2", folder=tmp_path / "out").run()
    assert [row["state"] for row in again.records()] == ["kept"] * 2


@pytest.mark.quick
@pytest.mark.parametrize("frames", ["1", "-1:3", "a:b", "0:4:0", 3, slice(-1, None), "", "1:2:3:4"])
def test_what_chooses_no_frames_is_a_line(frames: Any, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="`frames` must be all, or START:STOP:STEP"):
        films.film_of(write_gif(tmp_path / "clip.gif"), frames)


def test_what_is_no_film_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    for name in ("broken.mp4", "broken.gif"):
        with pytest.raises(ImageInputError, match="must be a film that can be read"):
            films.film_of(tmp_path / name)
    gif = write_gif(tmp_path / "clip.gif")
    with pytest.raises(ParameterError, match="some of the film's 5, from 0"):
        films.film_of(gif, "9:")
    with pytest.raises(ParameterError, match="the path of one film"):
        films.film_of([gif], "all")
    with pytest.raises(ParameterError, match="a film that is there"):
        films.film_of(tmp_path / "nowhere.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NbdiffuseError, match=r'not installed: pip install "nbdiffuse\[film\]"'):
        films.film_of(write_any(tmp_path / "clip.mp4"))


def write_any(path: Path) -> Path:
    path.write_bytes(b"x")
    return path

"""Films: the frames of an animation or a film as pictures of a batch, each read when its turn comes."""

from __future__ import annotations

import functools
import importlib
import os
import re
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ImageInputError, NbdiffuseError, ParameterError, breaks_rule
from ..files.paths import path_of
from ..images.picture import Picture
from ..images.reader import open_header

FILMS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv")
"""What the files end in that PyAV reads."""
ANIMATIONS = (".gif", ".webp", ".png", ".apng", ".avif")
"""What the files end in that Pillow reads, and that may have several frames."""
SECONDS = Fraction(1, 10)
"""How long a frame of an animation is shown that does not say it, as browsers do."""
_Facts = tuple[tuple[Fraction, ...], Fraction, tuple[int, int], Fraction]
_SLICE = re.compile(r"(\d*):(\d*)(?::(\d+))?")


def is_film(word: Any) -> bool:
    """Tell whether a file's name is one of a film, which is many pictures whatever else is said."""
    return isinstance(word, (str, os.PathLike)) and Path(word).suffix.lower() in FILMS


def is_animation(word: Any) -> bool:
    """Tell whether a file has several frames that Pillow reads; what cannot be read has none."""
    if not isinstance(word, (str, os.PathLike)) or Path(word).suffix.lower() not in ANIMATIONS:
        return False
    try:
        with open_header(path_of(word, "image")) as header:
            return getattr(header, "n_frames", 1) > 1
    except Exception:  # whatever a broken file makes Pillow raise; it is named when it is read
        return False


def load_av() -> Any:
    """Return PyAV.

    Raises
    ------
    NbdiffuseError
        It is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        raise NbdiffuseError(
            'Films are read and written by PyAV, which is not installed: pip install "nbdiffuse[film]". A .gif needs none.'
        ) from None


@dataclass(frozen=True, eq=False)
class Film:
    """A film's frames, and when each is shown.

    Parameters
    ----------
    path
        Of its file.
    times
        When each frame begins, from the first one's beginning, in seconds; rising.
    seconds
        How long all of it lasts.
    chosen
        Numbers of the frames that are meant, from 0, rising.
    size
        Width and height as its header says, in pixels.
    start
        When the first frame is shown by the file's own clock, in seconds.
    """

    path: Path
    times: tuple[Fraction, ...]
    seconds: Fraction
    chosen: tuple[int, ...]
    size: tuple[int, int]
    start: Fraction = Fraction(0)
    _open: dict[str, Any] = field(default_factory=dict)

    @property
    def begins(self) -> list[Fraction]:
        """When each chosen frame begins, from the first chosen one's beginning, in seconds."""
        return [self.times[number] - self.times[self.chosen[0]] for number in self.chosen]

    @property
    def span(self) -> tuple[Fraction, Fraction]:
        """From when to when the chosen frames are shown, in seconds of the whole."""
        after = [*self.times, self.seconds]
        step = self.chosen[1] - self.chosen[0] if len(self.chosen) > 1 else 1
        return self.times[self.chosen[0]], after[min(self.chosen[-1] + step, len(self.times))]

    def frame(self, number: int) -> Image.Image:
        """Read a frame; fast where it follows the one that was read before.

        Raises
        ------
        ImageInputError
            The film ends before it, or is broken there.
        """
        following, frames = self._open.get("frames", (0, None))
        if frames is None or number < following:
            following, frames = 0, _frames(self.path)
            # A generator that is thrown away closes its file.
            weakref.finalize(self, frames.close)
        self._open.pop("frames", None)
        image: Any = None
        while following <= number:
            try:
                image = next(frames)
            except Exception as error:  # decoders raise nearly anything on damaged files, StopIteration at the end
                cause = "It ends before." if isinstance(error, StopIteration) else f"{error}."
                raise ImageInputError(breaks_rule("image", f"a film with a frame {number}", self.path.name, cause)) from None
            following += 1
        self._open["frames"] = following, frames
        return image() if callable(image) else image


@dataclass(frozen=True)
class FrameSource:
    """A frame of a film."""

    film: Film
    number: int

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"{self.film.path.stem}-{self.number:05d}.png"

    def read(self) -> Picture:
        """See `Source`."""
        return Picture.of(self.film.frame(self.number), self.name)

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Source`."""
        return self.film.size


def film_of(images: Any, frames: Any = None) -> Film:
    """Look a film over; no frame is kept.

    Parameters
    ----------
    images
        The path of an animation (.gif, .webp, .png) or of what PyAV reads.
    frames
        "all", or "START:STOP:STEP" as in Python, from 0; a `slice` works too. All when None.

    Raises
    ------
    ParameterError, ImageInputError
        It is no film, or `frames` chooses none.
    NbdiffuseError
        PyAV is not installed.
    """
    if not isinstance(images, (str, os.PathLike)):
        raise ParameterError(breaks_rule("images", "the path of one film where `frames` are chosen", type(images).__name__))
    path, part = path_of(images, "images"), _slice(frames)
    if not path.is_file():
        raise ParameterError(breaks_rule("images", "a film that is there", os.fspath(images), "Check the spelling."))
    times, seconds, size, start = (_film_times if is_film(path) else _animation_times)(path)
    chosen = tuple(range(len(times))[part])
    if not chosen:
        raise ParameterError(breaks_rule("frames", f"some of the film's {len(times)}, from 0", frames))
    return Film(path, times, seconds, chosen, size, start)


def _slice(frames: Any) -> slice:
    if frames is None or frames == "all":
        return slice(None)
    if isinstance(frames, slice):
        numbers = [frames.start, frames.stop, frames.step]
        if all(number is None or (type(number) is int and number >= 0) for number in numbers) and frames.step != 0:
            return frames
    found = _SLICE.fullmatch(frames) if isinstance(frames, str) else None
    if found is None or found[3] == "0":
        raise ParameterError(breaks_rule("frames", "all, or START:STOP:STEP such as 0:48 or 0:100:2, from 0", frames))
    return slice(*(int(number) if number else None for number in found.groups()))


def _refused(path: Path, error: Exception) -> ImageInputError:
    cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ImageInputError(breaks_rule("image", "a film that can be read", path.name, f"{cause}."))


def _animation_times(path: Path) -> _Facts:
    times, now = [], Fraction(0)
    try:
        with open_header(path) as opened:
            size = opened.size
            for number in range(getattr(opened, "n_frames", 1)):
                opened.seek(number)
                opened.load()
                times.append(now)
                now += Fraction(opened.info.get("duration") or 0).limit_denominator(1000) / 1000 or SECONDS
    except Exception as error:  # whatever a broken file makes Pillow raise
        raise _refused(path, error) from None
    return tuple(times), now, size, Fraction(0)


def _film_times(path: Path) -> _Facts:
    av = load_av()
    try:
        with av.open(os.fspath(path)) as container:
            stream = container.streams.video[0]
            packets = [packet for packet in container.demux(stream) if packet.pts is not None and packet.size]
            size = stream.codec_context.width, stream.codec_context.height
            rate = Fraction(stream.average_rate or 24)
            shown = sorted(Fraction(packet.pts) * Fraction(packet.time_base) for packet in packets)
    except Exception as error:  # PyAV raises one class for each of FFmpeg's codes, and IndexError without a picture
        raise _refused(path, error if not isinstance(error, IndexError) else ValueError("it has no pictures")) from None
    if not shown:
        raise _refused(path, ValueError("it has no pictures"))
    return tuple(time - shown[0] for time in shown), shown[-1] - shown[0] + 1 / rate, size, shown[0]


def _frames(path: Path) -> Generator[Image.Image | Callable[[], Image.Image], None, None]:
    """Yield the frames of a file, those of a film as functions: one that is skipped costs no picture."""
    if not is_film(path):
        with open_header(path) as opened:
            for number in range(getattr(opened, "n_frames", 1)):
                opened.seek(number)
                yield opened.copy()
        return
    with load_av().open(os.fspath(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield functools.partial(_upright, frame)


def _upright(frame: Any) -> Image.Image:
    image: Image.Image = frame.to_image()
    turned = getattr(frame, "rotation", 0)
    return image.rotate(turned, expand=True) if turned else image

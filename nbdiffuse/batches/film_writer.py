"""Film writer: a film from the files of its frames, with the times and the sound of the one that they were made from."""

from __future__ import annotations

import io
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FileError
from ..files.atomic import write_atomic
from ..files.targets import made_folder, shown_path
from .films import FILMS, Film, load_av

ANIMATED = {".gif": "GIF", ".webp": "WEBP"}
CODECS = {".webm": ("libvpx-vp9", {"crf": "24", "b:v": "0"})}
"""Codec and its settings, where it is another than `USUAL`."""
USUAL = ("libx264", {"crf": "16", "preset": "medium"})
WRITTEN = (*ANIMATED, ".mp4", ".mov", ".m4v", ".mkv", ".webm")
"""What the files end in that are written."""


def write_film(
    target: Path, files: Sequence[Path], begins: Sequence[Fraction], seconds: Fraction, film: Film | None
) -> list[str]:
    """Write a film.

    Parameters
    ----------
    target
        Ends in one of `WRITTEN`.
    files
        Pictures of its frames, at least one.
    begins
        When each is shown, in seconds from the first one's beginning.
    seconds
        How long all of it lasts.
    film
        Whose sound is copied, where it has one and the target takes it; None for none.

    Returns
    -------
    list of str
        What a person should know.

    Raises
    ------
    FileError
        It cannot be written; the frames are still there.
    NbdiffuseError
        PyAV is not installed.
    """
    made_folder(target.parent)
    kind = ANIMATED.get(target.suffix.lower())
    said: list[str] = []
    try:
        if kind is not None:
            write_atomic(target, _animation(kind, files, begins, seconds))
        else:
            # A container is written to and fro; it takes its place when it is whole.
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".nbdiffuse-") as place:
                draft = Path(place) / f"film{target.suffix.lower()}"
                said = _encoded(draft, files, begins, film)
                os.replace(draft, target)
    except OSError as error:  # PyAV's errors are OSErrors, too
        cause = error.strerror or str(error)
        raise FileError(f"{shown_path(target)} cannot be written: {cause}. The frames are in their folder.") from None
    return said


def _pictures(files: Iterable[Path]) -> Iterator[Image.Image]:
    """Yield the frames in the size of the first one."""
    size: tuple[int, int] | None = None
    for file in files:
        with Image.open(file, formats=("PNG",)) as opened:
            image = opened.convert("RGB")
        size = size or image.size
        yield image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _animation(kind: str, files: Sequence[Path], begins: Sequence[Fraction], seconds: Fraction) -> bytes:
    # In hundredths of a second, which is what a GIF knows; rounded so that the whole keeps its length.
    ticks = [round(time * 100) for time in (*begins, seconds)]
    durations = [10 * max(1, end - begin) for begin, end in itertools.pairwise(ticks)]
    pictures = _pictures(files)
    buffer = io.BytesIO()
    how: dict[str, Any] = {"quality": 90} if kind == "WEBP" else {}
    next(pictures).save(buffer, kind, save_all=True, append_images=pictures, duration=durations, loop=0, **how)
    return buffer.getvalue()


def _encoded(target: Path, files: Sequence[Path], begins: Sequence[Fraction], film: Film | None) -> list[str]:
    av = load_av()
    tick = Fraction(1, math.lcm(*(time.denominator for time in begins), 1000))
    rate = Fraction(len(begins) - 1) / begins[-1] if len(begins) > 1 else Fraction(24)
    name, settings = CODECS.get(target.suffix, USUAL)
    sound, said = _sound(av, target, film)
    with av.open(os.fspath(target), "w") as container:
        video = container.add_stream(name, rate=rate.limit_denominator(1001), options=settings)
        video.codec_context.time_base = tick
        copied = container.add_stream_from_template(sound.stream) if sound is not None else None
        for begin, image in zip(begins, _pictures(files), strict=True):
            if not video.codec_context.is_open:
                # Colours are kept for each 2x2 pixels.
                video.width, video.height, video.pix_fmt = image.width // 2 * 2, image.height // 2 * 2, "yuv420p"
            frame = av.VideoFrame.from_image(image.crop((0, 0, video.width, video.height)))
            frame.pts, frame.time_base = int(begin / tick), tick
            for packet in sound.until(begin) if sound is not None else ():
                packet.stream = copied
                container.mux(packet)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for packet in sound.until(None) if sound is not None else ():
            packet.stream = copied
            container.mux(packet)
    if sound is not None:
        sound.close()
    return said


class _Sound:
    """The packets of a film's sound, in the part that is meant."""

    def __init__(self, av: Any, film: Film) -> None:
        self._container = av.open(os.fspath(film.path))
        self.stream = self._container.streams.audio[0]
        self._span = film.span
        self._zero = film.start + film.span[0]
        self._packets = self._chosen()
        self._next = next(self._packets, None)

    def _chosen(self) -> Iterator[tuple[Fraction, Any]]:
        for packet in self._container.demux(self.stream):
            if packet.pts is None:
                continue
            base = Fraction(packet.time_base)
            time = packet.pts * base - self._zero
            if 0 <= time < self._span[1] - self._span[0]:
                shift = int(self._zero / base)
                packet.pts -= shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                yield time, packet

    def until(self, time: Fraction | None) -> Iterator[Any]:
        """Yield the packets up to a time, or all that are left."""
        while self._next is not None and (time is None or self._next[0] <= time):
            yield self._next[1]
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _sound(av: Any, target: Path, film: Film | None) -> tuple[_Sound | None, list[str]]:
    """Return the sound that is copied; None where there is none, or where the target takes none of its kind, which is said."""
    if film is None or film.path.suffix.lower() not in FILMS:
        return None, []
    with av.open(os.fspath(film.path)) as container:
        if not container.streams.audio:
            return None, []
        codec = container.streams.audio[0].codec_context.name
    probe = target.with_name(f"probe{target.suffix}")
    try:
        sound = _Sound(av, film)
        with av.open(os.fspath(probe), "w") as tried:
            stream = tried.add_stream_from_template(sound.stream)
            for packet in sound.until(Fraction(0)):
                packet.stream = stream
                tried.mux(packet)
        sound.close()
        return _Sound(av, film), []
    except (OSError, ValueError):
        return None, [f"The sound of {film.path.name} is {codec}, which a {target.suffix} file does not take: it is left out."]
    finally:
        probe.unlink(missing_ok=True)

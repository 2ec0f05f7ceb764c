"""Parts of a panel that run in the browser: drop and paste, compare without the kernel, put a cell into the notebook."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from PIL import Image

from ..output.thumbnails import encoded
from .callback_thread import CallbackThread

HERE = Path(__file__).parent
LARGEST = 80_000_000
"""Bytes of a file that is taken from the browser, at most."""
SHOWN = 2048
"""Longer side, at most, of a picture that a mask is painted over, as the page gets it."""


class _Parts:
    """Bytes that the browser sends in parts, because a Jupyter server closes a connection that sends too many at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def whole(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> bytes | None:
        """Take a part and return all of them, or None while some are to come, or when they are too large."""
        if content.get("part") == 0:
            self._parts = []
        self._parts.append(bytes(buffers[0]))
        if sum(map(len, self._parts)) > LARGEST:
            self._parts = []
        if not self._parts or len(self._parts) != content.get("parts"):
            return None
        whole, self._parts = b"".join(self._parts), []
        return whole


class _ImageInputWidget(anywidget.AnyWidget):
    _esm = HERE / "image_input.js"
    _css = HERE / "anywidget_parts.css"
    label = traitlets.Unicode().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    hint = traitlets.Unicode().tag(sync=True)
    thumbnail = traitlets.Bytes().tag(sync=True)
    everywhere = traitlets.Bool().tag(sync=True)


class ImageInput:
    """An image input: a file is chosen, dropped or pasted.

    Parameters
    ----------
    label
        What the picture is for; read by screen readers.
    everywhere
        Whether a picture that is pasted anywhere in the panel comes here.
    on_file
        Called on the callback thread with a file's name and content.
    """

    def __init__(self, label: str, everywhere: bool, thread: CallbackThread, on_file: Callable[[str, bytes], None]) -> None:
        self.widget = _ImageInputWidget(label=label, everywhere=everywhere)
        self._parts = _Parts()
        self._thread, self._on_file = thread, on_file
        self.widget.on_msg(self._take)

    def show(self, thumbnail: bytes, caption: str, hint: str) -> None:
        """Show a small picture, JPEG or PNG, or none, with its name and what can be done."""
        with self.widget.hold_sync():
            self.widget.thumbnail, self.widget.caption, self.widget.hint = thumbnail, caption, hint

    def _take(self, widget: Any, content: Any, buffers: Any) -> None:
        whole = self._parts.whole(content, buffers)
        if whole is not None:
            self._thread.post(lambda: self._on_file(str(content.get("name", "")), whole))


class _CompareWidget(anywidget.AnyWidget):
    _esm = HERE / "compare.js"
    _css = HERE / "anywidget_parts.css"
    before = traitlets.Bytes().tag(sync=True)
    after = traitlets.Bytes().tag(sync=True)
    before_label = traitlets.Unicode().tag(sync=True)
    after_label = traitlets.Unicode().tag(sync=True)
    position = traitlets.Float(50.0).tag(sync=True)


class Compare:
    """Two pictures in one frame, and a slider between them."""

    def __init__(self) -> None:
        self.widget = _CompareWidget()

    def show(self, before: bytes, after: bytes, before_label: str, after_label: str) -> None:
        """Show two pictures, JPEG or PNG; one of them, or both, may be empty."""
        with self.widget.hold_sync():
            self.widget.before, self.widget.after = before, after
            self.widget.before_label, self.widget.after_label = before_label, after_label


class _MaskCanvasWidget(anywidget.AnyWidget):
    _esm = "".join((HERE / name).read_text("utf-8") for name in ("mask_raster.js", "mask_view.js", "mask_canvas.js"))
    _css = HERE / "anywidget_parts.css"
    label = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    size = traitlets.List(traitlets.Int(), [0, 0]).tag(sync=True)
    mask = traitlets.Bytes().tag(sync=True)
    token = traitlets.Unicode().tag(sync=True)


class MaskCanvas:
    """A mask that a person paints over a picture, at the picture's own size.

    Parameters
    ----------
    on_paint
        Called on the callback thread with the whole mask, an L picture, after everything that was painted.
    """

    _tokens = itertools.count(1)

    def __init__(self, thread: CallbackThread, on_paint: Callable[[Image.Image], None]) -> None:
        self.widget = _MaskCanvasWidget()
        self._parts = _Parts()
        self._thread, self._on_paint = thread, on_paint
        self.widget.on_msg(self._take)

    def show(self, picture: Image.Image, mask: Image.Image, label: str) -> None:
        """Show a picture and the mask over it, an L picture of the same size; `label` is read by screen readers."""
        with self.widget.hold_sync():
            self.widget.label, self.widget.size = label, list(picture.size)
            self.widget.picture = encoded(picture, SHOWN)
            self.widget.mask = zlib.compress(mask.tobytes(), 1)
            self.widget.token = f"kernel {next(self._tokens)}"

    def _take(self, widget: Any, content: Any, buffers: Any) -> None:
        deflated = self._parts.whole(content, buffers)
        # What was painted over a picture that is no longer there is not meant for this one.
        if deflated is None or content.get("size") != widget.size:
            return
        width, height = widget.size
        pixels = zlib.decompressobj().decompress(deflated, width * height + 1)
        if len(pixels) != width * height:
            return
        # Other views of it show the same, and so does a page that is loaded again.
        with widget.hold_sync():
            widget.mask, widget.token = deflated, str(content.get("token"))
        self._thread.post(lambda: self._on_paint(Image.frombytes("L", (width, height), pixels)))


class _ClipboardWidget(anywidget.AnyWidget):
    _esm = "".join((HERE / name).read_text("utf-8") for name in ("accessibility.js", "clipboard.js"))


class Clipboard:
    """Put a cell into the notebook, or have the browser save a file.

    Parameters
    ----------
    on_refused
        Called on the callback thread with a cell's text that the page has no place for.
    """

    _tokens = itertools.count(1)

    def __init__(self, thread: CallbackThread, on_refused: Callable[[str], None]) -> None:
        self.widget = _ClipboardWidget()
        self._thread, self._on_refused = thread, on_refused
        self.widget.on_msg(self._hear)

    def insert(self, text: str) -> None:
        """Put a cell below the one that shows the panel."""
        self.widget.send({"kind": "cell", "text": text, "token": next(self._tokens)})

    def hand_over(self, name: str, content: bytes) -> None:
        """Have the browser save a file."""
        self.widget.send({"kind": "download", "name": name, "token": next(self._tokens)}, [content])

    def _hear(self, widget: Any, content: Any, buffers: Any) -> None:
        if content.get("kind") == "inserted" and not content.get("done"):
            self._thread.post(lambda: self._on_refused(str(content.get("text", ""))))

"""Parts of a panel that run in the browser: drop and paste, compare without the kernel, put a cell into the notebook."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from .callback_thread import CallbackThread

HERE = Path(__file__).parent
LARGEST = 80_000_000
"""Bytes of a file that is taken from the browser, at most."""


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
        self._parts: list[bytes] = []
        self._thread, self._on_file = thread, on_file
        self.widget.on_msg(self._take)

    def show(self, thumbnail: bytes, caption: str, hint: str) -> None:
        """Show a small picture, JPEG or PNG, or none, with its name and what can be done."""
        with self.widget.hold_sync():
            self.widget.thumbnail, self.widget.caption, self.widget.hint = thumbnail, caption, hint

    def _take(self, widget: Any, content: Any, buffers: Any) -> None:
        if content.get("part") == 0:
            self._parts = []
        self._parts.append(bytes(buffers[0]))
        if sum(map(len, self._parts)) > LARGEST:
            self._parts = []
        elif len(self._parts) == content.get("parts"):
            whole, self._parts = b"".join(self._parts), []
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


class _ClipboardWidget(anywidget.AnyWidget):
    _esm = HERE / "clipboard.js"


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

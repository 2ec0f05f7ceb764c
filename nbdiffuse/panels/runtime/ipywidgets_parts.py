"""The same parts as in `anywidget_parts`, of plain ipywidgets, for where anywidget is not installed."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from PIL import Image

from ..output.html_lines import image, note
from .callback_thread import CallbackThread

NO_CANVAS = (
    'Painting a mask needs anywidget: pip install "nbdiffuse[panels]", and restart the kernel. '
    "Without it, give a mask as a file: paint white what is redrawn, over black, in any program."
)


class ImageInput:
    """An image input: a file is chosen; see `anywidget_parts.ImageInput`."""

    def __init__(self, label: str, everywhere: bool, thread: CallbackThread, on_file: Callable[[str, bytes], None]) -> None:
        self._shown = widgets.HTML()
        upload = widgets.FileUpload(accept="image/*", multiple=False, description="Choose a file", tooltip=label)
        self.widget = widgets.HBox([self._shown, upload], layout={"align_items": "center", "grid_gap": "10px"})

        def take(change: dict[str, Any]) -> None:
            if not change["new"]:
                return
            name, content = str(change["new"][0]["name"]), bytes(change["new"][0]["content"])
            # What was uploaded must not stay in the widget's state.
            upload.value = ()
            thread.post(lambda: on_file(name, content))

        upload.observe(take, "value")

    def show(self, thumbnail: bytes, caption: str, hint: str) -> None:
        """Show a small picture, or none, with its name and what can be done."""
        self._shown.value = image(thumbnail, caption) + f" <span>{html.escape(caption)}</span> {note(hint)}"


class Compare:
    """Two pictures side by side."""

    def __init__(self) -> None:
        self.widget = widgets.HTML()

    def show(self, before: bytes, after: bytes, before_label: str, after_label: str) -> None:
        """Show two pictures; one of them, or both, may be empty."""
        pairs = [(before, before_label), (after, after_label)]
        shown = [_figure(content, label) for content, label in pairs if content]
        empty = f"<p>{html.escape(after_label)}</p>"
        self.widget.value = f'<div style="display:flex;gap:8px">{"".join(shown) or empty}</div>'


class MaskCanvas:
    """A line that says what painting needs, and how a mask is given without."""

    def __init__(self, thread: CallbackThread, on_paint: Callable[[Image.Image], None]) -> None:
        self.widget = widgets.HTML(note(NO_CANVAS))

    def show(self, picture: Image.Image, mask: Image.Image, label: str) -> None:
        """Show nothing more."""


class Clipboard:
    """Files as links, cells as text to copy."""

    def __init__(self, thread: CallbackThread, on_refused: Callable[[str], None]) -> None:
        self.widget = widgets.HTML()
        self._on_refused = on_refused

    def insert(self, text: str) -> None:
        """Offer a cell's text."""
        self._on_refused(text)

    def hand_over(self, name: str, content: bytes) -> None:
        """Offer a file as a link."""
        data = base64.b64encode(content).decode()
        self.widget.value = f'<a download="{html.escape(name)}" href="data:image/png;base64,{data}">Save {html.escape(name)}</a>'


def _figure(content: bytes, label: str) -> str:
    return (
        f'<figure style="margin:0;flex:1">{image(content, label, "100%")}<figcaption>{html.escape(label)}</figcaption></figure>'
    )

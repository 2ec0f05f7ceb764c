"""Thumbnail button: a small picture that is pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ...results import Result
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_click
from .html_lines import image
from .thumbnails import encoded


def thumbnail_button(result: Result, label: str, tooltip: str, thread: CallbackThread, on_press: Callable[[Result], None]) -> Any:
    """Return a small picture of a result that calls a function on the callback thread with it when it is pressed.

    Parameters
    ----------
    label
        Names the picture.
    tooltip
        Says what pressing does; read by screen readers.
    """
    # A plain button cannot hold a picture: it lies over one.
    picture = widgets.HTML(image(encoded(result.image, 128), label))
    button = widgets.Button(description=label, tooltip=tooltip)
    on_click(button, thread, lambda: on_press(result))
    return widgets.Box([picture, button]).add_class("nbd-past")

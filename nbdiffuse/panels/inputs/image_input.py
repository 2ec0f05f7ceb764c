"""Image inputs: a picture is dropped, pasted, chosen, or named by a variable or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from ...cells.variables import find_picture, names_of_pictures
from ...families.parameters import Param
from ...images.mask_selection import modelled
from ...images.picture import Picture
from ...recipes.controlnets import AUTO
from ...results import Result
from ..output.thumbnails import encoded
from ..runtime.callback_thread import CallbackThread
from ..runtime.events import on_click, on_user_change
from ..runtime.frontend import LIVELY, ImageInput
from .number_controls import label_of, tooltip_of

_PLAIN = 'Choose a picture. To drop, paste, compare and paint here: pip install "nbdiffuse[panels]", then restart the kernel.'
HINT = "Drop, paste or choose a picture." if LIVELY else _PLAIN


@dataclass(frozen=True)
class PanelContext:
    """What a panel's controls need of the notebook and of the panel.

    Parameters
    ----------
    names
        The notebook's variables.
    last_result
        Returns the newest result, or None.
    restore
        Takes a file's name and content; returns whether settings were found in it, and the panel took them.
    estimate
        Has a picture made for a field from the initial one, by its field's name and the word that asks for it.
    initial
        Returns the initial picture, or None where there is none, or a step before makes it.
    """

    names: Mapping[str, Any]
    last_result: Callable[[], Result | None]
    restore: Callable[[str, bytes], bool]
    estimate: Callable[[str, str], None]
    initial: Callable[[], Picture | None]


class PictureControl:
    """An image input, with a box for the name of a variable or a file and buttons for the last result."""

    def __init__(
        self, name: str, param: Param, thread: CallbackThread, on_change: Callable[[Any], None], context: PanelContext
    ) -> None:
        self._name, self._on_change, self._context = name, on_change, context
        self._param = param
        self.word: str | None = None
        self._well = ImageInput(label_of(name), name == "image", thread, self._file)
        self._named = widgets.Combobox(
            description=f"{label_of(name)}: variable or file",
            placeholder="variable or file",
            tooltip=tooltip_of(name, param),
            continuous_update=False,
        ).add_class("nbd-named")
        self._last = widgets.Button(description="Use last result", tooltip=f"take the newest result as the {label_of(name)}")
        self._clear = widgets.Button(description="Clear", tooltip=f"take the {label_of(name)} away")
        buttons = [self._last, self._clear]
        if name == "control_image":
            made = widgets.Button(
                description="Make it",
                tooltip="make it from the initial picture: its depth, or its edges; auto:lineart in the box makes lines",
            )
            buttons.insert(0, made)
            on_click(made, thread, lambda: context.estimate(name, AUTO))
        title = widgets.Label(label_of(name))
        self._row = widgets.HBox([self._named, *buttons]).add_class("nbd-buttons")
        self.widget = widgets.VBox([title, self._well.widget, self._row]).add_class("nbd-picture")
        on_user_change(self._named, thread, self._typed)
        on_click(self._last, thread, self._take_last)
        on_click(self._clear, thread, lambda: self._take(None, None))
        self.show(None)

    def show(self, value: Picture | str | None) -> None:
        """Show a picture, a word that stands for one, or that there is none."""
        if isinstance(value, str):
            self.word = value
            self._well.show(b"", value, "selected from the initial picture")
        elif value is None:
            self.word = None
            self._well.show(b"", "no picture", HINT)
        else:
            width, height = value.size
            self._well.show(encoded(value.image, 192), value.label or label_of(self._name), f"{width} × {height}")
        self._named.value = self.word or ""
        self.offer_names()

    def offer_names(self) -> None:
        """Offer the variables that hold pictures now."""
        self._named.options = names_of_pictures(self._context.names)

    def _take(self, read: Any, word: str | None) -> None:
        self.word = word
        self._on_change(read)

    def _typed(self) -> None:
        word = self._named.value.strip()
        if self._param.is_word(word) and (self._name == "control_image" or modelled(word)):
            self._context.estimate(self._name, word)
            return
        if self._param.is_word(word):
            self._take(word, word)
            return
        self._take((lambda: find_picture(word, self._context.names)) if word else None, word or None)

    def _take_last(self) -> None:
        result = self._context.last_result()
        if result is not None:
            self._take(lambda: Picture.of(result.image, label="last result"), None)

    def _file(self, name: str, content: bytes) -> None:
        if self._name != "image" or not self._context.restore(name, content):
            self._take(lambda: Picture.of(content, label=name), None)

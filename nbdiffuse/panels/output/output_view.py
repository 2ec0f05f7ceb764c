"""Output view: the status and the progress of a run, and its result beside the initial picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets
from PIL import Image

from ...errors import NbdiffuseError
from ...recipes.recipe import Recipe
from ...recipes.sizes import fitted_pictures
from ...recipes.summary import notices
from ...results import Result, result_label
from ..runtime.frontend import Compare
from . import html_lines
from .thumbnails import encoded

if TYPE_CHECKING:
    from ...engine.progress import Progress

SIDE = 1024
"""Longer side of a picture on the page, in pixels, at most."""


class OutputView:
    """A status line, a bar, and one frame for the initial picture, the preview and the result."""

    def __init__(self) -> None:
        self._status = widgets.HTML()
        self._bar = widgets.FloatProgress(min=0, max=1, layout={"width": "auto", "visibility": "hidden"})
        self._compare = Compare()
        self._notes = widgets.HTML()
        self._before, self._before_label, self._after = b"", "", b""
        parts = [self._status, self._bar, self._compare.widget, self._notes]
        self.widget = widgets.VBox(parts).add_class("nbd-output")
        self._show(b"", "no result yet")

    def plan(self, outlook: Recipe | NbdiffuseError) -> None:
        """Say what would run, or why nothing would."""
        if isinstance(outlook, Recipe):
            first, *others = notices(outlook)
            self._status.value = html_lines.status(first)
            self.note(others)
        else:
            self.problem(outlook)

    def problem(self, error: Exception) -> None:
        """Show an error, in one line."""
        self._bar.layout.visibility = "hidden"
        self._status.value = html_lines.status(" ".join(str(error).split()), failed=True)

    def say(self, text: str) -> None:
        """Show a line."""
        self._status.value = html_lines.status(text)

    def begin(self, recipe: Recipe | None) -> None:
        """Show that a complete recipe starts; None for something that has no picture here."""
        self._bar.value, self._bar.bar_style = 0.0, ""
        self._bar.layout.visibility = "visible"
        if recipe is not None:
            self._set_before(fitted_pictures(recipe).get("image"))

    def waiting(self, what: str, seconds: float) -> None:
        """Show that the first step is not there yet."""
        self._status.value = html_lines.status(f"waiting for {what}, {seconds:.0f} s" if seconds >= 1 else f"starting {what}")

    def progress(self, progress: Progress, where: str = "", share: float | None = None) -> None:
        """Show a step, and the preview where there is a new one; `where` and `share` in [0, 1] say it of a longer way."""
        left = progress.remaining
        rest = f", {left:.0f} s left" if left is not None and left >= 0.5 else ""
        self._bar.value = progress.step / progress.steps if share is None else share
        self._status.value = html_lines.status(f"{where}step {progress.step} of {progress.steps}{rest}")
        if progress.preview is not None:
            self._show(encoded(progress.preview, SIDE), f"preview, step {progress.step}")

    def progress_to(self, share: float, text: str) -> None:
        """Show how far something else is, in [0, 1]."""
        self._bar.value = share
        self._status.value = html_lines.status(text)

    def finish(self, result: Result, label: str = "", before: Image.Image | None = None, before_label: str = "") -> None:
        """Show a result beside the picture that it started from, or another one."""
        self._bar.layout.visibility = "hidden"
        self._set_before(before or result.initial, before_label or "initial image")
        self._show(encoded(result.image, SIDE), result_label(result.recipe).splitlines()[0])
        if label:
            self._status.value = html_lines.status(label)
        self.note(result.notices)

    def note(self, notices: Sequence[str]) -> None:
        """Show lines that a person should read, in place of those before."""
        self._notes.value = html_lines.notices(list(notices))

    def rest(self) -> None:
        """Take the bar away."""
        self._bar.layout.visibility = "hidden"

    def restore(self, result: Result | None) -> None:
        """Show what was there before a run that came to nothing: a result, or no picture."""
        if result is not None:
            self.finish(result)
        else:
            self._show(b"", "no result yet")

    def _set_before(self, image: Image.Image | None, label: str = "initial image") -> None:
        self._before = encoded(image, SIDE)
        self._before_label = label if image is not None else ""

    def _show(self, after: bytes, label: str) -> None:
        self._compare.show(self._before, after, self._before_label, label)

"""Static output: the last result as a plain picture, which a saved notebook shows without a kernel."""

from __future__ import annotations

from typing import Any, Protocol

import ipywidgets as widgets
from IPython.display import display

VIEW = "application/vnd.jupyter.widget-view+json"
NAME = "nbdiffuse panel"


class DisplayedWidget(Protocol):
    """A value with a picture for a saved notebook."""

    def _repr_mimebundle_(self) -> dict[str, Any]: ...


class StaticOutput:
    """The panel's outputs: the panel itself, and below it the last result.

    The second is a widget that shows nothing, so that the page has the result once
    while the panel lives. Without a kernel the page falls back to the picture beside it.

    Parameters
    ----------
    name
        What the saved notebook calls the panel.
    """

    def __init__(self, name: str = NAME) -> None:
        self._name = name
        self._nothing = widgets.Box(layout={"display": "none"})
        self._bundle = self._with_view({"text/plain": self._name}, self._nothing)
        self._handles: list[Any] = []

    def display(self, widget: widgets.Widget) -> None:
        """Show the panel, with the place for its last result below."""
        gone = f"<em>{self._name}: run this cell to open it again.</em>"
        display(self._with_view({"text/html": gone, "text/plain": self._name}, widget), raw=True)
        handle = display(self._bundle, raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def update(self, made: DisplayedWidget) -> None:
        """Put another result into the saved notebook."""
        own = made._repr_mimebundle_()
        # The text is the same for every result: stored notebooks compare equal.
        self._bundle = self._with_view({"image/png": own["image/png"], "text/plain": self._name}, self._nothing)
        for handle in self._handles:
            handle.update(self._bundle, raw=True)

    def _with_view(self, bundle: dict[str, Any], widget: widgets.Widget) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        return {**bundle, VIEW: view}

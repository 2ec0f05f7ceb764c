"""Closing widgets: ipywidgets keeps each one, and its comm, until it is closed."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets


def close(widget: Any) -> None:
    """Close a widget and everything that it alone is made of: its children, its layout, its style."""
    parts = (*getattr(widget, "children", ()), getattr(widget, "style", None), getattr(widget, "layout", None))
    for part in parts:
        if isinstance(part, widgets.Widget):
            close(part)
    widget.close()

"""Hearing what a person does to a widget, as opposed to what the panel itself does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .callback_thread import Desk


def hear(widget: Any, desk: Desk, take: Callable[[], None], trait: str = "value") -> None:
    """Have a person's changes taken up at the desk.

    What is changed at the desk is the panel's own doing and is not heard. `take`
    reads the widget itself: of changes that come faster than they are taken up, the
    newest counts.
    """

    def heard(change: Any) -> None:
        if not desk.here:
            desk.post(take)

    widget.observe(heard, trait)


def press(button: Any, desk: Desk, take: Callable[[], None]) -> None:
    """Have a button's presses taken up at the desk."""
    button.on_click(lambda _: desk.post(take))

"""Events: a person's changes and clicks, told apart from what the panel itself changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .callback_thread import CallbackThread


def on_user_change(widget: Any, thread: CallbackThread, take: Callable[[], None], trait: str = "value") -> None:
    """Call a function on the callback thread when a person changes a widget.

    What is changed on the callback thread is the panel's own doing and is not heard. `take`
    reads the widget itself: of changes that come faster than they are taken up, the
    newest counts.
    """

    def heard(change: Any) -> None:
        if not thread.here:
            thread.post(take)

    widget.observe(heard, trait)


def on_click(button: Any, thread: CallbackThread, take: Callable[[], None]) -> None:
    """Call a function on the callback thread when a button is clicked."""
    button.on_click(lambda _: thread.post(take))

"""Events: a person's changes and clicks, told apart from what the panel itself changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .callback_thread import CallbackThread


def on_user_change(widget: Any, thread: CallbackThread, take: Callable[[], None], trait: str = "value") -> Callable[[], bool]:
    """Call a function on the callback thread when a person changes a widget.

    What is changed on the callback thread is the panel's own doing and is not heard. `take`
    reads the widget itself: of changes that come faster than they are taken up, the
    newest counts.

    Returns
    -------
    Callable
        Tells whether a change waits to be taken up.
    """
    waiting: list[None] = []

    def taken() -> None:
        waiting.pop()
        take()

    def heard(change: Any) -> None:
        if not thread.here:
            waiting.append(None)
            thread.post(taken)

    widget.observe(heard, trait)
    return lambda: bool(waiting)


def on_click(button: Any, thread: CallbackThread, take: Callable[[], None]) -> None:
    """Call a function on the callback thread when a button is clicked."""
    button.on_click(lambda _: thread.post(take))

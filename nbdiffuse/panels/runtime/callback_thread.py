"""Callback thread: the one thread that does what the callbacks of panels ask for."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import TypeVar

T = TypeVar("T")


class CallbackThread:
    """Do work in the order of its time, on a thread of its own.

    ipykernel calls a widget's callbacks on the main thread or on a subshell's, between
    cells or beside one, depending on its version. Here every callback only posts; all
    that follows happens on one thread, so no two of them meet.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, str | None, Callable[[], None]]] = []
        self._newest: dict[str, int] = {}
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def here(self) -> bool:
        """Whether the caller is on this thread."""
        return threading.current_thread() is self._thread

    def post(self, work: Callable[[], None], after: float = 0.0, key: str | None = None) -> None:
        """Have work done and return at once.

        Parameters
        ----------
        work
            Must raise nothing.
        after
            Seconds to wait first, at least 0.
        key
            Work of the same key that still waits is dropped.
        """
        with self._changed:
            number = next(self._count)
            if key is not None:
                self._newest[key] = number
            heapq.heappush(self._waiting, (time.monotonic() + after, number, key, work))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="nbdiffuse-panels", daemon=True)
                self._thread.start()
            self._changed.notify()

    def drop(self, key: str) -> None:
        """Forget work of this key that still waits."""
        with self._changed:
            self._newest.pop(key, None)

    def call(self, work: Callable[[], T], timeout: float = 30.0) -> T:
        """Do work on this thread, and return what it returns or raise what it raises.

        Parameters
        ----------
        timeout
            Seconds to wait, above 0.
        """
        if self.here:
            return work()
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self.post(answer)
        return future.result(timeout)

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until all is done that was posted before, except what was to wait."""
        self.call(lambda: None, timeout)

    def _loop(self) -> None:
        while True:
            work = self._next()
            work()
            # What was done last must not keep a panel alive.
            del work

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                now = time.monotonic()
                while self._waiting and self._waiting[0][0] <= now:
                    _, number, key, work = heapq.heappop(self._waiting)
                    if key is None:
                        return work
                    if self._newest.get(key) == number:
                        del self._newest[key]
                        return work
                self._changed.wait(self._waiting[0][0] - now if self._waiting else None)


@cache
def get_callback_thread() -> CallbackThread:
    """Return this process's callback thread, made at the first call."""
    return CallbackThread()

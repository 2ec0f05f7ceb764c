"""Coroutines: functions that pause to ask for something, such as a model call, and go on with the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from greenlet import greenlet

from ..errors import NbdiffuseError
from .worker import detached

T = TypeVar("T")


class Coroutine(Generic[T]):
    """A function with a stack of its own, on the thread that resumes it; one runs at a time, so shared values need no locks.

    Not a thread of its own: on a CPU torch keeps helpers for each thread that computes,
    and lets them all sleep between two calls once there are more than cores.

    Parameters
    ----------
    work
        Called with the coroutine when it is first resumed.
    """

    def __init__(self, work: Callable[[Coroutine[T]], T]) -> None:
        self.result: T | None = None
        self.error: NbdiffuseError | None = None
        self.seconds = 0.0
        self.shared_rows = 0
        self._work: Callable[[Coroutine[T]], T] | None = work
        self._stack = greenlet(self._run)

    def resume(self, answer: Any = None) -> Any:
        """Let the work go on until it asks for something or ends.

        Parameters
        ----------
        answer
            What the last question gets; an exception is raised where it was asked.

        Returns
        -------
        The question, or None when the work ended: `result` or `error` is then set.
        """
        begun = time.perf_counter()
        # Whoever resumes is where the next question goes.
        self._stack.parent = greenlet.getcurrent()
        asked = self._stack.switch(answer)
        self.seconds += time.perf_counter() - begun
        return asked

    def ask(self, question: Any) -> Any:
        """Pause until there is an answer; called by the work itself.

        Parameters
        ----------
        question
            Anything but None.
        """
        answer = self._stack.parent.switch(question)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self, _: Any) -> None:
        work, self._work = self._work, None
        try:
            self.result = work(self) if work else None
        except BaseException as error:  # it is told to whoever waits
            self.error = detached(error)

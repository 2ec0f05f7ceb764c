"""Lanes: work that pauses where it wants something from outside, and goes on with the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from ..errors import NbdiffuseError
from .worker import detached

T = TypeVar("T")


class Lane(Generic[T]):
    """Work on a thread of its own that runs only while somebody waits in `resume`.

    However many lanes there are, one of them or the one who resumes them runs at a
    time, never two: what they share needs no locks.

    Parameters
    ----------
    work
        Called on the lane's thread, with the lane.
    """

    def __init__(self, work: Callable[[Lane[T]], T]) -> None:
        self.result: T | None = None
        self.error: NbdiffuseError | None = None
        self.seconds = 0.0
        self.shared_rows = 0
        self._asked: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(work,), name="nbdiffuse-lane", daemon=True)

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
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._answers.put(answer)
        asked = self._asked.get()
        if asked is None:
            self._thread.join()
        self.seconds += time.perf_counter() - begun
        return asked

    def ask(self, question: Any) -> Any:
        """Pause until there is an answer; called by the work itself.

        Parameters
        ----------
        question
            Anything but None.
        """
        self._asked.put(question)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self, work: Callable[[Lane[T]], T]) -> None:
        try:
            self.result = work(self)
        except BaseException as error:  # it is told to whoever waits
            self.error = detached(error)
        del work
        self._asked.put(None)

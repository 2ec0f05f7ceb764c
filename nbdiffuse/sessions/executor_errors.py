"""Errors of executors: a worker that died, a cluster that was closed, work that was cancelled, each as one line of our own."""

from __future__ import annotations

from ..errors import NbdiffuseError, RunError

_KEPT = "What is finished is kept."
_LINES = {
    "BrokenExecutor": f"The worker was lost: its process or thread ended. {_KEPT} Make another executor and run the grid on it.",
    "KilledWorker": f"The worker was lost: several died over this cell. {_KEPT} Give workers more memory, or run it here.",
    "CancelledError": (
        f"The executor cancelled this work; it or its cluster may be closed. {_KEPT} Open another one and run the grid again."
    ),
    "KeyboardInterrupt": f"The worker was interrupted. {_KEPT} Run the grid again.",
    "TimeoutError": f"The executor did not answer in time. {_KEPT} Look at its cluster, and run the grid again.",
}
"""By the name of an error's class: those of concurrent.futures, asyncio and distributed, which need not be installed."""
_CLOSED = ("after shutdown", "has been shutdown", "has been shut down", "closed", "not running", "is shutting down")
"""What executors say that take no more work."""


def run_error(error: BaseException, submitting: bool = False) -> NbdiffuseError:
    """Return what an executor or its future raised as an error of this package, in one line.

    Parameters
    ----------
    error
        Of any executor; one of this package is returned as it is.
    submitting
        Whether it was raised while work was handed over.
    """
    if isinstance(error, NbdiffuseError):
        return error
    text = " ".join(str(error).split()).rstrip(".")
    for kind in type(error).__mro__:
        # `BrokenProcessPool` and `FutureCancelledError` are kinds of these.
        line = next((line for name, line in _LINES.items() if name in kind.__name__), None)
        if line:
            return _run_error(line, error)
    if submitting or any(words in text.lower() for words in _CLOSED):
        closed = f"The executor takes no work: {text or type(error).__name__}. {_KEPT} Open another one and run the grid again."
        return _run_error(closed, error)
    return _run_error(f"The worker was lost: {type(error).__name__}: {text}", error)


def _run_error(line: str, error: BaseException) -> RunError:
    told = RunError(line)
    told.details = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
    return told

"""Chain steps: the next step of each of several chains, run together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import Interrupted, NbdiffuseError
from ..results import Result
from ..sessions.session import Session
from ..store.store import Store
from ..sweeps.cell import SweepCell
from .outcomes import FailedCell, Outcomes


@dataclass(frozen=True, eq=False)
class ChainStep:
    """A step that is ready to run.

    Parameters
    ----------
    cell
        Its complete recipe, with what the step before handed over.
    arrow
        How that was handed over; empty for a first step.
    store
        Where its picture may be found and is kept, or None.
    """

    cell: SweepCell
    arrow: str
    store: Store | None


class Advancing(Protocol):
    """A chain that is run step by step."""

    @property
    def session(self) -> Session: ...
    def next_step(self) -> ChainStep: ...
    def recalled(self, step: ChainStep) -> Result | None: ...
    def watch(self, step: ChainStep | None, outcomes: Outcomes | None) -> None: ...
    def take(self, step: ChainStep, outcome: Result) -> None: ...


def advance(runs: Sequence[Advancing], while_waiting: Callable[[], None]) -> dict[int, NbdiffuseError]:
    """Run the next step of each chain; equal steps once, those of one checkpoint through one denoising loop.

    Parameters
    ----------
    runs
        Chains of one session that have a step left.
    while_waiting
        Called on this thread about every 50 ms.

    Returns
    -------
    dict
        Errors by the index of the chain whose step could not be run; the others have their result.

    Raises
    ------
    Interrupted
        What was finished before is taken over.
    """
    failed: dict[int, NbdiffuseError] = {}
    waiting: dict[int, ChainStep] = {}
    for index, run in enumerate(runs):
        try:
            step = run.next_step()
        except Interrupted:
            raise
        except NbdiffuseError as error:
            failed[index] = error.with_traceback(None)
            continue
        recalled = run.recalled(step)
        if recalled is None:
            waiting[index] = step
        else:
            run.take(step, recalled)
    for store in {id(step.store): step.store for step in waiting.values()}.values():
        part = {index: step for index, step in waiting.items() if step.store is store}
        failed |= _settle(runs, part, Outcomes(runs[0].session, store), while_waiting)
    return failed


def _settle(
    runs: Sequence[Advancing], waiting: dict[int, ChainStep], outcomes: Outcomes, while_waiting: Callable[[], None]
) -> dict[int, NbdiffuseError]:
    groups: dict[str, list[SweepCell]] = {}
    for index, step in waiting.items():
        groups.setdefault(step.cell.picture_key, []).append(step.cell)
        runs[index].watch(step, outcomes)
    failed: dict[int, NbdiffuseError] = {}

    def take_over() -> None:
        for index, step in list(waiting.items()):
            outcome = outcomes.outcomes.get(step.cell.picture_key)
            if outcome is None:
                continue
            del waiting[index]
            runs[index].watch(None, None)
            if isinstance(outcome, FailedCell):
                failed[index] = type(outcome.error)(f"Step {step.cell.index + 1}: {outcome.error}")
            else:
                runs[index].take(step, outcome)

    def look() -> None:
        take_over()
        while_waiting()

    try:
        outcomes.settle(list(groups.values()), look)
    finally:
        take_over()
        for index in waiting:
            runs[index].watch(None, None)
    return failed

"""Lanes: one thing runs at a time, and everything that is asked is answered where it was asked."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from nbdiffuse.devices.coroutines import Coroutine
from nbdiffuse.errors import Interrupted, RunError

pytestmark = pytest.mark.quick


def test_work_pauses_at_each_question_and_goes_on_with_the_answer() -> None:
    seen = []

    def work(coroutine: Coroutine[int]) -> int:
        seen.append(coroutine.ask("first"))
        seen.append(coroutine.ask("second"))
        return 7

    coroutine = Coroutine(work)
    assert seen == [] and coroutine.resume() == "first" and coroutine.resume(1) == "second" and seen == [1]
    assert coroutine.resume(2) is None and seen == [1, 2] and (coroutine.result, coroutine.error) == (7, None)


def test_an_exception_as_answer_is_raised_where_it_was_asked() -> None:
    def work(coroutine: Coroutine[str]) -> str:
        with pytest.raises(MemoryError):
            coroutine.ask("much")
        return "with less"

    coroutine = Coroutine(work)
    coroutine.resume()
    assert coroutine.resume(MemoryError()) is None and coroutine.result == "with less"


def test_a_failing_lane_holds_its_line_and_nothing_of_its_frames() -> None:
    class Large:
        pass

    freed = []

    def work(coroutine: Coroutine[None]) -> None:
        large = Large()
        weakref.finalize(large, freed.append, True)
        coroutine.ask("question")
        raise ValueError("no")

    coroutine = Coroutine(work)
    coroutine.resume()
    assert coroutine.resume() is None
    gc.collect()
    assert isinstance(coroutine.error, RunError) and "ValueError" in str(coroutine.error) and freed == [True]


def test_many_coroutines_run_one_at_a_time() -> None:
    running, most = [0], [0]

    def work(coroutine: Coroutine[int]) -> int:
        total = 0
        for _ in range(50):
            running[0] += 1
            most[0] = max(most[0], running[0])
            total += sum(range(500))
            running[0] -= 1
            coroutine.ask("more")
        return total

    coroutines = [Coroutine(work) for _ in range(20)]
    under_way = list(coroutines)
    while under_way:
        under_way = [coroutine for coroutine in under_way if coroutine.resume() is not None]
    assert most == [1] and {coroutine.result for coroutine in coroutines} == {50 * sum(range(500))}


def test_a_lane_that_is_told_to_end_ends() -> None:
    ended = []

    def work(coroutine: Coroutine[None]) -> None:
        try:
            coroutine.ask("question")
        finally:
            ended.append(True)

    coroutine = Coroutine(work)
    coroutine.resume()
    assert coroutine.resume(Interrupted("Stopped.")) is None
    assert ended == [True] and isinstance(coroutine.error, Interrupted)


def test_all_coroutines_run_on_the_thread_that_resumes_them() -> None:
    threads = []

    def work(coroutine: Coroutine[None]) -> None:
        threads.append(threading.get_ident())
        coroutine.ask("question")
        threads.append(threading.get_ident())

    before = threading.active_count()
    coroutines = [Coroutine(work) for _ in range(3)]
    for coroutine in [*coroutines, *coroutines]:
        coroutine.resume()
    assert set(threads) == {threading.get_ident()} and len(threads) == 6 and threading.active_count() == before

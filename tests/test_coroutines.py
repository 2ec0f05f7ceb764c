"""Lanes: one thing runs at a time, and everything that is asked is answered where it was asked."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from nbdiffuse.devices.coroutines import Lane
from nbdiffuse.errors import Interrupted, RunError


def test_work_pauses_at_each_question_and_goes_on_with_the_answer() -> None:
    seen = []

    def work(lane: Lane[int]) -> int:
        seen.append(lane.ask("first"))
        seen.append(lane.ask("second"))
        return 7

    lane = Lane(work)
    assert seen == [] and lane.resume() == "first" and lane.resume(1) == "second" and seen == [1]
    assert lane.resume(2) is None and seen == [1, 2] and (lane.result, lane.error) == (7, None)


def test_an_exception_as_answer_is_raised_where_it_was_asked() -> None:
    def work(lane: Lane[str]) -> str:
        with pytest.raises(MemoryError):
            lane.ask("much")
        return "with less"

    lane = Lane(work)
    lane.resume()
    assert lane.resume(MemoryError()) is None and lane.result == "with less"


def test_a_failing_lane_holds_its_line_and_nothing_of_its_frames() -> None:
    class Large:
        pass

    freed = []

    def work(lane: Lane[None]) -> None:
        large = Large()
        weakref.finalize(large, freed.append, True)
        lane.ask("question")
        raise ValueError("no")

    lane = Lane(work)
    lane.resume()
    assert lane.resume() is None
    gc.collect()
    assert isinstance(lane.error, RunError) and "ValueError" in str(lane.error) and freed == [True]


def test_many_lanes_run_one_at_a_time() -> None:
    running, most = [0], [0]

    def work(lane: Lane[int]) -> int:
        total = 0
        for _ in range(50):
            running[0] += 1
            most[0] = max(most[0], running[0])
            total += sum(range(500))
            running[0] -= 1
            lane.ask("more")
        return total

    lanes = [Lane(work) for _ in range(20)]
    under_way = list(lanes)
    while under_way:
        under_way = [lane for lane in under_way if lane.resume() is not None]
    assert most == [1] and {lane.result for lane in lanes} == {50 * sum(range(500))}


def test_a_lane_that_is_told_to_end_ends() -> None:
    ended = []

    def work(lane: Lane[None]) -> None:
        try:
            lane.ask("question")
        finally:
            ended.append(True)

    lane = Lane(work)
    lane.resume()
    assert lane.resume(Interrupted("Stopped.")) is None
    assert ended == [True] and isinstance(lane.error, Interrupted)


def test_all_lanes_run_on_the_thread_that_resumes_them() -> None:
    threads = []

    def work(lane: Lane[None]) -> None:
        threads.append(threading.get_ident())
        lane.ask("question")
        threads.append(threading.get_ident())

    before = threading.active_count()
    lanes = [Lane(work) for _ in range(3)]
    for lane in [*lanes, *lanes]:
        lane.resume()
    assert set(threads) == {threading.get_ident()} and len(threads) == 6 and threading.active_count() == before

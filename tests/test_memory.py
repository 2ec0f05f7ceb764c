"""Bytes: read, written, counted, and who goes when they run short."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nbdiffuse.devices.memory import Holding, component_bytes, format_size, free_bytes, parse_size, to_release
from nbdiffuse.errors import ParameterError

pytestmark = pytest.mark.quick

HELD = st.lists(st.builds(Holding, st.uuids().map(str), st.integers(0, 100), st.integers(0, 9), st.booleans()), max_size=8)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("512 MiB", 512 * 2**20), ("1.5 gb", 1.5 * 10**9), ("2kb", 2000), ("100", 100), (" 3 TiB ", 3 * 2**40)],
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "0.0001B", "8 bananas", "1e9", "nan", "8GB8"])
def test_what_is_no_size_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ParameterError, match=r"^`budget` must be a size in .*, got .*\. Write it as `8GB`"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (15_340_000, "15.3 MB"), (999_960_000, "1.0 GB"), (2e15, "2000.0 TB")],
)
def test_sizes_are_written_for_people(size: float, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(1, 10**15))
def test_a_size_that_is_written_can_be_read_again(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)


def test_shared_weights_count_once_and_buffers_count() -> None:
    a, b = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
    alone = component_bytes({"a": a, "b": b})
    b.weight = a.weight
    assert (alone, component_bytes({"a": a, "b": b, "scheduler": object(), "nothing": None})) == (128, 64)
    a.register_buffer("positions", torch.zeros(2, dtype=torch.int64))
    assert component_bytes({"a": a}) == 80


def test_this_machine_says_what_it_has_left() -> None:
    assert 10**8 < free_bytes(torch.device("cpu")) < 10**14


def test_the_least_recently_used_go_first_and_no_more_than_it_takes() -> None:
    held = [Holding("new", 10, 3), Holding("old", 10, 1), Holding("middle", 10, 2), Holding("kept", 10, 0, needed=True)]
    assert to_release(held, 0, 40) == []
    assert to_release(held, 1, 40) == ["old"]
    assert to_release(held, 10, 30) == ["old", "middle"]
    assert to_release(held, 10**6, 40) == ["old", "middle", "new"]


@given(HELD, st.integers(0, 300), st.integers(0, 500))
def test_what_is_left_fits_or_nothing_more_can_go(held: list[Holding], wanted: int, budget: int) -> None:
    leaving = to_release(held, wanted, budget)
    left = [one for one in held if one.name not in leaving]
    assert not any(one.needed for one in held if one.name in leaving)
    fits = sum(one.size for one in left) + wanted <= budget
    assert fits or all(one.needed or not one.size for one in left)
    if leaving:
        last = next(one for one in held if one.name == leaving[-1])
        assert sum(one.size for one in left) + last.size + wanted > budget
        assert all(one.used >= last.used for one in left if one.size and not one.needed)

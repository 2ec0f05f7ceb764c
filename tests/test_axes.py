"""The syntax of axes: ranges are exact, lists keep their order, every mistake is one line."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.prompts.alternatives import MAX_VALUES, alternatives, escaped
from nbdiffuse.recipes.recipe import PARAMS
from nbdiffuse.sweeps.axes import values_of

pytestmark = pytest.mark.quick

HUNDREDTHS = st.integers(0, 100).map(lambda number: Fraction(number, 100))


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("strength", "0.4", (0.4,)),
        ("strength", "0.4,0.6, 0.8,1.0", (0.4, 0.6, 0.8, 1.0)),
        ("strength", "0.2:1:0.2", (0.2, 0.4, 0.6, 0.8, 1.0)),
        ("strength", ".1:.3:.1", (0.1, 0.2, 0.3)),
        ("guidance_scale", "5:1:1", (5.0, 4.0, 3.0, 2.0, 1.0)),
        ("guidance_scale", "0.1,5:10:2.5", (0.1, 5.0, 7.5, 10.0)),
        ("seed", "1..4", (1, 2, 3, 4)),
        ("seed", "4..1", (4, 3, 2, 1)),
        ("seed", "9223372036854775806..9223372036854775807", (2**63 - 2, 2**63 - 1)),
        ("num_inference_steps", "10:50:20", (10, 30, 50)),
        ("strength", "0.5:0.5:0.1", (0.5,)),
        ("model", "sd15, kandinsky22", ("sd15", "kandinsky22")),
        ("image", 'cat.png,"a, b.png"', ("cat.png", "a, b.png")),
        ("negative_prompt", "blurry, ugly | text", ("blurry, ugly", "text")),
        ("negative_prompt", "|text", ("", "text")),
        ("negative_prompt", "blurry, ugly", ("blurry, ugly",)),
        ("prompt", "a {red|blue} cat|a dog", ("a red cat", "a blue cat", "a dog")),
    ],
)
def test_several_values_are_read(name: str, text: str, values: tuple[object, ...]) -> None:
    read = values_of(name, text)
    assert read == values and [type(value) for value in read] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("strength", "", "single commas"),
        ("strength", "0.4,,0.6", "single commas"),
        ("strength", "0.2:1", "first:last:step"),
        ("strength", "0.2:1:0.1:1", "first:last:step"),
        ("guidance_scale", "5:1:-1", "Write 5:1:1: the ends say which way"),
        ("guidance_scale", "1:5:0", "step above 0"),
        ("strength", "0.2:0.9:0.3", "It comes to 0.8"),
        ("strength", "0:1:0.0001", f"at most {MAX_VALUES} values"),
        ("strength", "0.5:1.5:0.5", r"in \[0, 1\], got 1.5"),
        ("strength", "nan", r"in \[0, 1\]"),
        ("strength", "0.4-0.8", "0.2:1:0.2"),
        ("strength", "1e-999999999:1:1", r"in \[0, 1\]"),
        ("strength", "٠.٤", r"in \[0, 1\]"),
        ("seed", "1...4", "first..last"),
        ("seed", "1..4..9", "first..last"),
        ("seed", "0..99999999999999999999", "values"),
        ("num_inference_steps", "1:2:0.5", "whole number"),
        ("model", "sd15,", "single commas"),
        ("image", '"a.png,b.png', "As CSV"),
        ("prompt", "a {red|blue cat", "is closed"),
        ("prompt", "a {red|{dark|light} blue} cat", "stand in one another"),
        ("prompt", "{0|1|2|3|4|5|6|7|8|9}" * 4, "at most"),
        ("strenght", "0.4", "Did you mean 'strength'"),
        ("resize_mode", "fit,crop,pat", "Did you mean 'pad'"),
    ],
)
def test_a_mistake_is_one_line_that_says_the_way_out(name: str, text: str, line: str) -> None:
    with pytest.raises(ParameterError, match=line) as raised:
        values_of(name, text)
    assert "\n" not in str(raised.value)


@given(HUNDREDTHS, st.integers(1, 40).map(lambda number: Fraction(number, 100)), st.integers(0, 60), st.booleans())
def test_a_range_holds_both_ends_and_the_very_numbers_that_would_be_typed(
    first: Fraction, step: Fraction, count: int, down: bool
) -> None:
    exact = [first + index * step for index in range(count + 1)]
    exact = exact[::-1] if down else exact
    text = f"{float(exact[0])}:{float(exact[-1])}:{float(step)}"
    assert values_of("guidance_scale", text) == tuple(float(value) for value in exact)


@given(st.sampled_from(sorted(PARAMS)), st.text(max_size=60) | st.text("0123456789.,:-+e|{}\\\"' ", max_size=30))
def test_any_text_gives_checked_values_or_one_line(name: str, text: str) -> None:
    try:
        values = values_of(name, text)
    except NbdiffuseError as error:
        assert "\n" not in str(error)
    else:
        assert 1 <= len(values) <= MAX_VALUES
        for value in values:
            assert not isinstance(value, float) or math.isfinite(value)
            if PARAMS[name].kind is not Picture:
                assert PARAMS[name].check(name, value) == value


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_a_list_keeps_its_order_and_its_repeats(seeds: list[int]) -> None:
    assert values_of("seed", ",".join(map(str, seeds))) == tuple(seeds)


@given(st.text(max_size=40) | st.text("{}|\\a ", max_size=12))
def test_an_escaped_prompt_is_taken_as_it_is(prompt: str) -> None:
    assert alternatives(escaped(prompt)) == (prompt,)
    assert values_of("negative_prompt", escaped(prompt)) == (prompt,)


@given(
    st.lists(st.text("abc ", max_size=4), min_size=2, max_size=4), st.lists(st.text("xyz ", max_size=4), min_size=2, max_size=4)
)
def test_groups_of_alternatives_give_every_combination(first: list[str], second: list[str]) -> None:
    found = alternatives(f"a {{{'|'.join(first)}}} and {{{'|'.join(second)}}}.")
    assert found == tuple(f"a {one.strip()} and {two.strip()}." for one in first for two in second)


@pytest.mark.parametrize("prompt", ["a {cat}", "a | b", "}{", '{"a": {"b": 1}}', "a (red:1.2) cat", "C:\\cats", ""])
def test_a_prompt_without_alternatives_stays_as_it_is(prompt: str) -> None:
    assert alternatives(prompt) == (prompt,)

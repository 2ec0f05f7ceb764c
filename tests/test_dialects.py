"""Prompt weighting as text: both dialects become one value, or one line that names the character."""

from __future__ import annotations

import contextlib
import string
from typing import Any

import pytest
from compel import Compel
from hypothesis import example, given
from hypothesis import strategies as st

from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.prompts import a1111, compel, dialects
from nbdiffuse.prompts.alternatives import alternatives
from nbdiffuse.prompts.weights import Blend, Fragment, Weighted
from nbdiffuse.recipes.recipe import PARAMS


def compels_own(text: str) -> Weighted:
    """Read a text with Compel's own parser."""
    conjunction = Compel.parse_prompt_string(text)

    def fragments(prompt: Any) -> tuple[Fragment, ...]:
        return tuple(Fragment(child.text, child.weight) for child in prompt.children)

    parts = tuple(
        Blend(tuple(map(fragments, part.prompts)), tuple(part.weights), part.normalize_weights)
        if type(part).__name__ == "Blend"
        else fragments(part)
        for part in conjunction.prompts
    )
    return Weighted(parts, tuple(conjunction.weights))


PIECES = [
    *("cat", "a big", "x-ray", "don't", "é", "8k", "!", ":", "[", " ", " ", ", ", ",", ".", "\n"),
    *("+", "++", "--", "-", "1.3", "0.5", ".attend(1.2)", "=", "\\(", "\\)", '\\"', "(", ")", '"'),
    *("(cat)", "(a dog)1.3", '"a dog"++', "(a (cat)1.2 dog)0.9"),
]
QUOTES = st.lists(st.sampled_from(["cat", "a", " ", "++", "-", ",", ".", "=", "\\(", "1.3"]), max_size=4).map("".join)
WHOLES = st.builds(
    lambda parts, method: "(" + ", ".join(f'"{part}"' for part in parts) + ")" + method,
    st.lists(QUOTES, min_size=1, max_size=3),
    st.sampled_from([".blend()", ".and()", ".add(1, 2)", ".blend(.7, .3)", ".blend(1, -.5, no_normalize)", ".and(2)"]),
)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join) | WHOLES)
@example("a cat++ and (two words)1.3, detailed. 8k")
@example('("a cat++", "b").blend(.7, .3)')
@example("a,b,c++,,d")
@example("(cat.dog++)0.5 y")
@example('("a = b", "c").blend()')
def test_what_is_accepted_means_what_it_means_to_compel(text: str) -> None:
    if text.count("(") > 4 or not text.strip():
        return
    try:
        mine = compel.read(text)
    except ParameterError as error:
        assert "character " in str(error) and "\n" not in str(error)
        return
    assert mine == compels_own(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a (cat", r"must close every bracket, got character 3: '\(cat'"),
        ("a cat) b", r"must open every bracket that it closes, got character 6: '\) b'"),
        ("a,b,(c", r"character 5: '\(c'"),
        ('a "cat', r"must close every quotation on its line, got character 3"),
        ("a cat :)", r"character 8: '\)'"),
        ("cat(hat)++", r"must have a blank before a bracket or a quotation, got character 4"),
        ("(a - b)1.3", r"must have words in brackets and quotations, got character 4"),
        ("a ()++", r"must have words in every bracket, got character 3"),
        ("(cat)-1", r"must have one weight behind a word, and a blank behind that, got character 6"),
        ("the cat--a tiger", r"got character 8: '--a tiger'"),
        ("cat.dog++", r"must weigh words that have no `.` or `=` in them, got character 8"),
        ("(cat)1000", r"must have weights in \[0, 100\], got character 6"),
        ("cat" + "+" * 20_000, r"must have weights in \[0, 100\], got character 4"),
        ("cat.swap(dog)", r"must be without `.swap\(\)`"),
        ("cat.attend(x)", r"must have a weight in `.attend\(\)`, got character 4"),
        ('a photo of ("a", "b").blend(1, 1)', r"must have `.blend\(\)` around the whole of it, got character 22"),
        ('("a", "b").and() and more', r"must have `.and\(\)` around the whole of it"),
        ("(a cat, b).blend(1, 1)", r"must have every part of `.blend\(\)` in quotation marks"),
        ('("a", "b").blend(1)', r"must have as many weights in `.blend\(\)` as parts, 2"),
        ('("a", "b").blend(1, -1)', r"weights of `.blend\(\)` whose sum is not 0"),
        ('("a", "b").blend(x, y)', r"must have numbers in \[-100, 100\] in `.blend\(\)`"),
        ("(" * 21 + "a" + ")" * 21, r"must have at most 20 brackets in one another, got character 21"),
    ],
)
def test_what_compel_would_take_as_plain_words_or_drop_is_refused_with_its_place(text: str, line: str) -> None:
    with pytest.raises(ParameterError, match=r"^`negative_prompt` " + f".*{line}") as caught:
        compel.read(text, "negative_prompt")
    assert len(str(caught.value)) < 250


@pytest.mark.quick
def test_the_weights_of_the_a1111_dialect() -> None:
    (fragments,) = a1111.read("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))). \\(x\\) [\\[y\\]] 16:9").parts
    assert isinstance(fragments, tuple)
    assert [(fragment.text, round(fragment.weight, 6)) for fragment in fragments] == [
        ("a ", 1.0),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (". (x) ", 1.0),
        ("[y]", 0.909091),
        (" 16:9", 1.0),
    ]


@pytest.mark.quick
def test_break_begins_a_part_and_a_last_one_does_not() -> None:
    weighted = a1111.read("a (cat BREAK dog:1.2) BREAK")
    assert weighted.parts == ((Fragment("a "), Fragment("cat", 1.2)), (Fragment("dog", 1.2),))
    assert weighted.text == "a  cat dog"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a ((cat)", r"must close every bracket, got character 3"),
        ("a cat] b", r"must close the brackets that it opens, in their order, got character 6"),
        ("([cat)]", r"in their order, got character 6"),
        ("(cat:1.2.3)", r"must have numbers as weights, got character 5"),
        ("(cat:-1)", r"must have weights in \[0, 100\], got character 1"),
        ("a [cat:dog:0.5]", r"must be without schedules such as `\[from:to:when\]` and `\[a\|b\]`, got character 3"),
        ("[cat|dog]", r"must be without schedules"),
        ("a cat AND a dog", r"must be without `AND`"),
        ("a <lora:x:0.5> cat", r"must be without networks, got character 3"),
        ("[" * 21 + "a" + "]" * 21, r"must have at most 20 brackets"),
    ],
)
def test_what_is_more_than_weights_or_open_is_refused_with_its_place(text: str, line: str) -> None:
    with pytest.raises(ParameterError, match=line):
        a1111.read(text)


@given(st.text(st.sampled_from(string.printable + "é猫\u200b"), max_size=80), st.sampled_from(sorted(dialects.READERS)))
def test_any_text_is_read_or_refused_in_one_line(text: str, dialect: str) -> None:
    try:
        weighted = dialects.read(dialect, text)
    except ParameterError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 <= fragment.weight <= 100 for text in weighted.blended_texts for fragment in text)
    dialects.hint(dialect, text)


@pytest.mark.parametrize(
    "piece", ["(cat)1.2 ", "cat++, ", "((((a)))) ", "[x] ", "\\(", "(x:1.2) ", ": 1", "<lora:", "+", "(", ":  ", '"']
)
def test_a_long_text_of_marks_ends(piece: str) -> None:
    for dialect in dialects.READERS:
        with contextlib.suppress(ParameterError):
            dialects.read(dialect, piece * 20_000)
        dialects.hint(dialect, piece * 20_000)


@pytest.mark.quick
def test_plain_text_is_taken_as_it_is() -> None:
    text = "a (cat:1.3), jungle++ [x] ) \\("
    assert dialects.read("none", text) == Weighted(((Fragment(text),),), (1.0,))


@pytest.mark.quick
def test_every_choice_of_the_field_has_a_reader() -> None:
    assert PARAMS["weighting"].choices == tuple(dialects.READERS)


@pytest.mark.parametrize(
    ("dialect", "text", "line"),
    [
        ("none", "a jungle++", "`jungle++` looks like Compel weighting; add `--weighting compel`."),
        ("none", "a jungle--, a cat", "`jungle--` looks like Compel weighting; add `--weighting compel`."),
        ("none", "(two words)1.3", "`(two words)1.3` looks like Compel weighting; add `--weighting compel`."),
        ("none", '("a", "b").blend(.7, .3)', '`").blend(` looks like Compel weighting; add `--weighting compel`.'),
        ("none", "a (cat:1.3)", "`(cat:1.3)` looks like AUTOMATIC1111 weighting; add `--weighting a1111`."),
        ("none", "((best)), a cat", "`((best))` looks like AUTOMATIC1111 weighting; add `--weighting a1111`."),
        (
            "compel",
            "a (cat:1.3)",
            "`(cat:1.3)` looks like AUTOMATIC1111 weighting, which Compel does not read; add `--weighting a1111`.",
        ),
        (
            "a1111",
            "a jungle++",
            "`jungle++` looks like Compel weighting, which AUTOMATIC1111 does not read; add `--weighting compel`.",
        ),
    ],
)
def test_a_text_in_another_dialect_is_noticed(dialect: str, text: str, line: str) -> None:
    assert dialects.hint(dialect, text) == line


@pytest.mark.quick
@pytest.mark.parametrize(
    "text",
    [
        "C++ code on a screen",
        "g++ and Notepad++",
        "for i++",
        "a happy cat :) :-( (:",
        "a house (red, old) by a lake",
        "ratio (16:9)",
        "(Genesis 1:1), John 3:16",
        "at noon (12:30)",
        "the cat-- a big one -- sleeps",
        "Google+, grade A+, blood type AB-",
        "see note (2), fig (a)",
        "(c)2024 by a painter",
        "Canon EOS (85mm lens)3",
        "[sketch] of a [cat]",
        "f(x)=2(y)",
        "x--",
    ],
)
def test_prose_raises_no_false_alarm(text: str) -> None:
    assert dialects.hint("none", text) is None


def test_weights_pass_through_alternatives_and_the_cell_as_they_are() -> None:
    assert alternatives("a {jungle++|(red desert)1.3} \\(x\\)") == ("a jungle++ \\(x\\)", "a (red desert)1.3 \\(x\\)")
    cell = parse_cell("txt2img", "--weighting compel,a1111", "a {cat++|dog} (x:1.2) \\(y\\) [z]")
    assert cell.axes == {
        "weighting": ("compel", "a1111"),
        "prompt": ("a cat++ (x:1.2) \\(y\\) [z]", "a dog (x:1.2) \\(y\\) [z]"),
    }

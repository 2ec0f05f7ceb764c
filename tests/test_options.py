"""A magic's line and body: derived from the declarations, inert, and one line for every mistake."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdiffuse.cells.flags import fields_of, flag
from nbdiffuse.cells.options import completions, help_text, parse_cell
from nbdiffuse.errors import NbdiffuseError, ParameterError, RunError
from nbdiffuse.families import arguments
from nbdiffuse.families.diffusers_classes import MAPPINGS, auto_pipelines, call_defaults
from nbdiffuse.recipes.recipe import PARAMS

pytestmark = pytest.mark.quick

BODY = "a cat wizard\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cat.png --strength 0.8", {"strength": 0.8}),
        (
            "cat.png -s .8 -g 7.5 -n 30 -m sd15",
            {"strength": 0.8, "guidance_scale": 7.5, "num_inference_steps": 30, "model": "sd15"},
        ),
        ("--guidance_scale 3 cat.png", {"guidance_scale": 3.0}),
        ("cat.png --seed=7", {"seed": 7}),
        ("cat.png --negative-prompt 'ugly, bad $HOME {x}'", {"negative_prompt": "ugly, bad $HOME {x}"}),
    ],
)
def test_options_are_the_recipes_fields(line: str, expected: dict[str, object]) -> None:
    assert parse_cell("img2img", line, BODY).values == {"prompt": "a cat wizard", "image": "cat.png", **expected}


def test_every_field_has_an_option_a_help_line_and_a_completion() -> None:
    text, words = help_text("img2img"), completions("img2img", "%%img2img --") or []
    rows = {line[2:30].strip(): line[31:39].strip() for line in text.splitlines() if line.startswith("  -")}
    assert rows["-s, --strength"] == "0.8" and rows["-g, --guidance-scale"] == "7.5" and rows["-n, --num-inference-steps"] == "50"
    assert rows["--seed"] == "" and all(row.isascii() for row in rows)
    for name in set(PARAMS) - {"prompt", "image"}:
        assert flag(name) in text and flag(name) in words
        assert PARAMS[name].help in text


def test_text_to_image_has_no_strength() -> None:
    assert "strength" not in fields_of("txt2img")
    with pytest.raises(ParameterError, match="--strength"):
        parse_cell("txt2img", "--strength 0.5", BODY)


def test_a_negative_prompt_line_starts_the_negative_prompt() -> None:
    cell = parse_cell("img2img", "cat.png", "a cat\nin a hat\nNegative prompt: ugly,\nblurry\n")
    assert cell.values["prompt"] == "a cat\nin a hat" and cell.values["negative_prompt"] == "ugly,\nblurry"


def test_a_pasted_generation_text_is_understood_and_the_line_wins() -> None:
    body = "a cat\nNegative prompt: ugly\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 5, Size: 512x512, Clip skip: 2"
    cell = parse_cell("img2img", "cat.png --seed 9", body)
    assert cell.values["num_inference_steps"] == 20 and cell.values["scheduler"] == "DDIM" and cell.values["seed"] == 9
    assert cell.values["clip_skip"] == 1 and any("Clip skip 2 of other tools is `clip_skip` 1" in line for line in cell.notices)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat.png --strengh 0.5", "'--strengh' is not an option of %%img2img. Did you mean '--strength'?"),
        ("cat.png --str 0.5", "'--str' is not an option"),
        ("cat.png --strength nan", "`strength` must be a number in [0, 1], got 'nan'."),
        ("cat.png --strength 1e400", "`strength` must be a number in [0, 1]"),
        ("cat.png --strength 1.5", "`strength` must be a number in [0, 1], got 1.5."),
        ("cat.png --seed ٣", "`seed` must be a whole number"),
        ("cat.png --seed 1.5", "`seed` must be a whole number"),
        ("cat.png --width 130", "The nearest is 128."),
        ("cat.png --strength", "`--strength` must be followed by a value, got none."),
        ("cat.png 'open", "Close the quotes."),
        ("", "`image` is missing. Write a picture after %%img2img: a file, a variable, or example:penguin."),
        ("cat.png --out 2bad", "`--out` must be the name of a variable"),
    ],
)
def test_mistakes_get_one_clear_line(line: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_cell("img2img", line, BODY)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(ParameterError, match="`prompt` must be the body"):
        parse_cell("img2img", "cat.png", "  \n")


@settings(max_examples=300)
@given(st.text(max_size=200) | st.text(st.sampled_from("-- '\"\\{}$=ap.1\0"), max_size=60), st.text(max_size=80))
def test_any_line_and_body_give_values_or_our_error(line: str, body: str) -> None:
    for task in ("img2img", "txt2img"):
        with contextlib.suppress(NbdiffuseError):
            parse_cell(task, line, body)


def test_choices_are_completed() -> None:
    offered = completions("img2img", "%%img2img cat.png --model sd") or []
    assert offered[:3] == ["sd15", "sdxl", "sdxl-refiner"] and all(name.startswith("sd") for name in offered)
    assert "DDIM" in (completions("img2img", "%%img2img cat.png --scheduler ") or [])
    assert completions("img2img", "%%img2img ca") is None


def test_several_values_make_axes_in_the_order_typed() -> None:
    cell = parse_cell("img2img", "a.png b.png -g 1,5 --strength 0.4:0.8:0.2 --seed 1..3", "a cat in the {jungle|snow}")
    assert cell.axes == {
        "image": ("a.png", "b.png"),
        "guidance_scale": (1.0, 5.0),
        "strength": (0.4, 0.6, 0.8),
        "seed": (1, 2, 3),
        "prompt": ("a cat in the jungle", "a cat in the snow"),
    }
    assert cell.values == {}


def test_a_brace_without_alternatives_is_text() -> None:
    assert parse_cell("img2img", "a.png", "a {cat} costs $5").values["prompt"] == "a {cat} costs $5"


def test_what_a_cell_does_with_its_result_is_not_looked_for_among_diffusers_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading the source of every pipeline takes seconds, and most cells have an `--out`.
    asked: list[str] = []
    monkeypatch.setattr(arguments, "_from_signatures", asked.append)
    parse_cell("img2img", "start --out x --save y.png --panel --yes -n 3 --measure ssim --seed 1,2", "a cat", {"start": 1})
    assert asked == []


def test_an_argument_is_found_in_the_calls_that_name_it_and_in_no_other() -> None:
    every: dict[str, Any] = {}
    for pipeline in dict.fromkeys(name for task in MAPPINGS for name in auto_pipelines(task).values()):
        try:
            every = {**{name: default for name, default in call_defaults(pipeline).items() if usable(default)}, **every}
        except RunError:
            continue
    wanted = {name for name in every if not name.startswith("_") and name not in arguments.NOT_ARGUMENTS}
    assert {name for name in wanted if arguments.argument(name) is None} == set() and len(wanted) > 20
    assert arguments.argument("strengh") is None and arguments.argument("return_dict") is None
    for name in wanted - set(arguments.ARGUMENTS):
        assert arguments.argument(name).kind is type(every[name]), name  # type: ignore[union-attr]


def usable(default: Any) -> bool:
    return isinstance(default, (bool, int, float, str))

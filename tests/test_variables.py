"""`--option =name`: the value of a variable and nothing but that; and options that are given twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.loopbacks import parse_loopback
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ImageInputError, ParameterError
from nbdiffuse.images.picture import Picture

PICTURE = Image.new("RGB", (64, 64), (200, 30, 10))
NOTEBOOK: dict[str, Any] = {
    "s": 0.3,
    "several": [0.3, 0.4],
    "half": np.float32(0.5),
    "spaced": np.linspace(0, 1, 3),
    "seeds": range(1, 4),
    "ugly": "ugly, {bad|worse} $s",
    "words": ["ugly", "blurry"],
    "start": PICTURE,
    "mask": np.zeros((64, 64, 3), np.uint8),
    "nothing": None,
    "file": Path("made/cat.png"),
    "lazy": "lazy",
    "three": 3,
    "metrics": ["ssim", "structure"],
    "style": "style.safetensors:0.5",
}


def cell(line: str, body: str = "a cat", task: str = "img2img") -> Any:
    return parse_cell(task, line, body, NOTEBOOK)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--strength =s", "strength", 0.3),
        ("--strength==s", "strength", 0.3),
        ("-s =half", "strength", 0.5),
        ("--strength =several", "strength", (0.3, 0.4)),
        ("--strength =spaced", "strength", (0.0, 0.5, 1.0)),
        ("--seed =seeds", "seed", (1, 2, 3)),
        ("--seed =three", "seed", 3),
        ("--negative-prompt =ugly", "negative_prompt", "ugly, {bad|worse} $s"),
        ("--negative-prompt =words", "negative_prompt", ("ugly", "blurry")),
        ("--lora =style", "lora", "style.safetensors:0.5"),
        ("--mask-image =start", "mask_image", Picture.of(PICTURE)),
        ("--mask-image =mask", "mask_image", Picture.of(NOTEBOOK["mask"])),
    ],
)
def test_an_option_takes_a_variables_value(line: str, field: str, value: Any) -> None:
    made = cell(f"cat.png {line}")
    assert {**made.values, **made.axes}[field] == value


def test_a_picture_a_file_and_metrics_come_from_variables_too() -> None:
    made = cell("=start --save =file --seed =seeds --measure =metrics")
    assert made.values["image"] == Picture.of(PICTURE)
    assert made.save == str(Path("made/cat.png")) and made.measure == ("ssim", "structure")
    _, own = parse_loopback("cat.png --passes =three --curve =lazy --final-strength =s", "a cat", NOTEBOOK)
    assert own == {"passes": 3, "curve": "lazy", "final_strength": 0.3}
    chain = parse_chain("--seed =three", "[sd15]\na cat\n[comic --strength =several]\na dog", NOTEBOOK)
    assert chain.steps[1]["seed"] == 3 and chain.axes == {"2.strength": (0.3, 0.4)}


def test_none_leaves_a_field_open() -> None:
    assert "strength" not in cell("cat.png --strength =nothing").values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--strength =sss", "`--strength` must be the name of a variable after `=`, got '=sss'."),
        ("--strength =severl", "Did you mean `=several`?"),
        ("--strength $s", "Write `--strength =s`."),
        ("--strength {s}", "Write `--strength =s`."),
        ("--strength ${s}", "Write `--strength =s`."),
        ("--strength s", "write `--strength =s`."),
        ("--model $s", "Write `--model =s`."),
        ("--save $file", "Write `--save =file`."),
        ("--strength =s+1", "After `=` stands the name of one variable, nothing else."),
        ("--strength =s,=half", "After `=` stands the name of one variable, nothing else."),
        ("--strength =several[0]", "After `=` stands the name of one variable, nothing else."),
        ("--strength =ugly", "`strength` must be a number in [0, 1], got 'ugly, {bad|worse} $s'."),
        ("--strength =start", "`strength` must be a number in [0, 1]"),
        ("--negative-prompt =three", "`negative_prompt` must be text, got 3."),
        ("--width =three", "`width` must be a multiple of 8"),
        ("--save =three", "`--save` must be a path"),
    ],
)
def test_what_is_no_value_is_refused_with_the_way_out(line: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        cell(f"cat.png {line}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_word_that_holds_a_number_is_no_picture() -> None:
    with pytest.raises(ImageInputError):
        cell("=three")
    with pytest.raises(ParameterError, match="Write `=start`"):
        cell("$start")


class Alarm(dict):  # type: ignore[type-arg]
    """A variable that tells when it is evaluated, called or written out."""

    touched: list[str]

    def __getattribute__(self, name: str) -> Any:
        if name not in ("__class__", "touched"):
            dict.__getattribute__(self, "__dict__").setdefault("touched", []).append(name)
        return dict.__getattribute__(self, name)

    def __call__(self) -> None:
        raise AssertionError("called")


@settings(max_examples=150)
@given(st.text(st.sampled_from("=alarm.()[]{}$+-*'\" 0"), max_size=24))
def test_nothing_is_evaluated_or_called(text: str) -> None:
    alarm = Alarm()
    try:
        parse_cell("img2img", f"cat.png --strength {text}", "a cat", {"alarm": alarm})
    except (ParameterError, ImageInputError) as error:
        assert "\n" not in str(error)
    assert not set(vars(alarm).get("touched", [])) - {"__dict__", "__repr__"}


def test_a_prompt_stays_text_and_says_so_where_a_variable_may_be_meant() -> None:
    made = cell("cat.png --negative-prompt $ugly", "{ugly}")
    assert made.values["prompt"] == "{ugly}" and made.values["negative_prompt"] == "$ugly"
    assert [line.partition(". ")[2] for line in made.notices] == [
        "For the value of the variable write `nbdiffuse.run(nbdiffuse.Recipe(prompt=ugly))`.",
        "For the value of the variable write `--negative-prompt =ugly`.",
    ]
    assert cell("cat.png --negative-prompt '$5 {a} off'", "a {cat} in $s").notices == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-s .3 --strength .4", "`--strength` must be given once, got '.3' and '.4'. Leave one out; for a grid"),
        ("--num_inference_steps 3 -n 4", "`--num-inference-steps` must be given once, got '3' and '4'."),
        ("--negative-prompt a --negative-prompt b", "`--negative-prompt` must be given once, got 'a' and 'b'. Leave one out."),
        ("--out a --out b", "`--out` must be given once, got 'a' and 'b'."),
        ("--save a.png --save b.png", "`--save` must be given once"),
        ("--mask-image a --mask-image b", "`--mask-image` must be given once"),
        ("--lora=--", "`--lora` must be followed by a value"),
    ],
)
def test_an_option_given_twice_is_refused_with_both_values(line: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        cell(f"cat.png {line}")
    assert message in str(caught.value)
    with pytest.raises(ParameterError):
        parse_chain(line, "[sd15]\na cat")


def test_two_loras_are_both_used() -> None:
    both = cell("cat.png --lora a:0.5 --lora b").values
    assert (both["lora"], both["loras.2"]) == ("a:0.5", "b")
    drawn = parse_cell("txt2img", "--lora a:0.5 --lora b", "a cat").values
    assert (drawn["lora"], drawn["loras.2"]) == ("a:0.5", "b")
    chain = parse_chain("--lora a --lora b", "[sd15]\na cat\n[sd15 --lora c]\n")
    assert [(step["lora"], step["loras.2"]) for step in chain.steps] == [("a", "b"), ("c", "b")]
    assert cell("cat.png --seed 1,2 --measure ssim --measure structure").measure == ("ssim", "structure")


def test_a_steps_own_option_wins_over_the_lines() -> None:
    chain = parse_chain("start.png -s .3 -n 4", "[sd15 --strength .5 -n=3]\na cat\n[comic]\n")
    assert [(step["strength"], step["num_inference_steps"]) for step in chain.steps] == [(0.5, 3), (0.3, 4)]
    with pytest.raises(ParameterError, match=r"^Step 1: `--model` must be given once"):
        parse_chain("", "[sd15 --model comic]\na cat")


def test_a_step_without_a_prompt_has_the_very_text_of_the_one_before() -> None:
    assert parse_chain("", "[sd15]\na \\{cat|dog\\}\n[comic]\n").steps[1]["prompt"] == "a {cat|dog}"
    with pytest.raises(ParameterError, match=r"^Step 2: `prompt` must be written here"):
        parse_chain("", "[sd15]\na {cat|dog}\n[comic]\n")

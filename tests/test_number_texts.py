"""Numbers in labels, cells and errors: each can be read back as the very value, and its rule names both ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse import Recipe, sweep
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.parameters import number_text
from nbdiffuse.recipes.lora import Lora
from nbdiffuse.recipes.recipe import PARAMS
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.steps import no_steps, steps_line
from nbdiffuse.results import result_label
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.store.compare import Comparison, Side
from nbdiffuse.store.lineage import step_text
from nbdiffuse.sweeps.axes import Axis

PICTURE = Image.new("RGB", (64, 64))
BASE = resolve(Recipe(prompt="a cat", image=PICTURE, strength=0.5, seed=1))


@settings(max_examples=200)
@given(st.floats(0, 1), st.floats(0, 100))
def test_what_is_shown_is_the_value(strength: float, guidance: float) -> None:
    recipe = BASE.replace(strength=strength, guidance_scale=guidance)
    shown = {
        "label": result_label(recipe),
        "steps": steps_line(recipe),
        "error": no_steps(recipe),
        "cell": cell_text(recipe, {"image": "start"}),
    }
    for where, text in shown.items():
        assert number_text(strength) in re.split(r"[\s'=]", text), where
    assert number_text(guidance) in step_text(recipe).replace(",", " ").split()
    assert float(number_text(strength)) == strength and float(number_text(guidance)) == guidance
    assert Axis("strength", (strength,)).labels == (number_text(strength),)
    assert f":{number_text(strength)}" in str(Lora(file="a.safetensors", scale=strength)) or strength == 1
    if strength != 0.5:
        sides = [Side(name, recipe.replace(strength=value), {}, PICTURE) for name, value in (("a", 0.5), ("b", strength))]
        assert number_text(strength) in repr(Comparison(*sides)).split()


def test_a_strength_just_below_a_quarter_is_not_shown_as_one() -> None:
    assert "0.24999999" in no_steps(BASE.replace(strength=0.24999999, num_inference_steps=4))
    assert "strength 0.24999999" in result_label(BASE.replace(strength=0.24999999))
    assert "0.24999999" in sweep(Recipe(prompt="a cat", image=PICTURE), strength=[0.24999999, 0.5]).sweep.axes[0].labels
    loop = Loopback(Recipe(prompt="a cat", image=PICTURE, strength=0.234567, seed=1), passes=1)
    assert loop.recipes[0].strength == 0.234567


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--seed 9223372036854775808", "in [0, 9223372036854775807], got 9223372036854775808. Leave it out to draw one."),
        ("--seed -1", "`seed` must be a whole number in [0, 9223372036854775807], got -1. Leave it out to draw one."),
        ("--seed random", "got 'random'. Leave it out to draw one."),
        ("-s 80%", "`strength` must be a number in [0, 1], got '80%'. Write 0.8."),
        ("-s 7.5%", "Write 0.075."),
        ("-n 80%", "`num_inference_steps` must be a whole number of steps in [1, 1000], got '80%'."),
        ("-s 1.0000001", "got 1.0000001."),
    ],
)
def test_a_number_out_of_its_range_is_answered_with_the_range_and_the_way_out(line: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_cell("img2img", f"cat.png {line}", "a cat")
    assert message in str(caught.value)


def test_every_rule_names_both_ends() -> None:
    for name, param in PARAMS.items():
        if param.kind in (int, float):
            assert param.rule.endswith(f"in [{number_text(param.low)}, {number_text(param.high)}]"), name

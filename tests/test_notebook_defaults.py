"""`%diffuse defaults`: every cell begins with them, its own options win, and a line says what was used."""

from __future__ import annotations

import pytest

from nbdiffuse.errors import ParameterError
from nbdiffuse.magics.completion import words_for
from nbdiffuse.magics.notebook_defaults import NotebookDefaults


@pytest.fixture
def defaults() -> NotebookDefaults:
    made = NotebookDefaults()
    assert made.command("--model comic -n 20 --strength 0.5", {}).endswith(
        "--model comic --num-inference-steps 20 --strength 0.5"
    )
    return made


@pytest.mark.quick
def test_they_lie_below_what_a_cell_says_and_are_said(defaults: NotebookDefaults) -> None:
    values, said = defaults.under({"prompt": "a cat", "num_inference_steps": 5}, "img2img")
    assert values == {"prompt": "a cat", "model": "comic", "num_inference_steps": 5, "strength": 0.5}
    assert said == ("Defaults of this notebook: --model comic --strength 0.5",)


@pytest.mark.quick
def test_what_a_cell_cannot_take_or_says_otherwise_is_left_out(defaults: NotebookDefaults) -> None:
    assert set(defaults.under({}, "txt2img")[0]) == {"model", "num_inference_steps"}
    assert "strength" not in defaults.under({"noise": 0.5}, "img2img")[0]
    assert "strength" not in defaults.under({}, "img2img", {"noise": (0.3, 0.5)})[0]
    assert "model" not in defaults.under({"checkpoint": "somebody/else"}, "img2img")[0]


@pytest.mark.quick
def test_they_are_shown_and_forgotten(defaults: NotebookDefaults) -> None:
    assert "--model comic" in defaults.command("", {})
    assert defaults.command("none", {}) == "defaults of this notebook: none"
    assert defaults.under({"prompt": "a cat"}, "img2img") == ({"prompt": "a cat"}, ())


@pytest.mark.quick
@pytest.mark.parametrize("line", ["--strength 0.2,0.4", "--out name", "--strength 2", "--nonsense 3"])
def test_what_is_no_default_is_refused_and_nothing_changes(line: str, defaults: NotebookDefaults) -> None:
    with pytest.raises(ParameterError):
        defaults.command(line, {})
    assert defaults.values["strength"] == 0.5


def test_tab_completes_their_options() -> None:
    text = "%diffuse defaults --mod"
    assert "--model" in words_for(text, (0, len(text)), {})[0]


def test_cells_and_chains_begin_with_them(kernel) -> None:  # type: ignore[no-untyped-def]
    assert kernel.run("%diffuse defaults -n 3 --seed 5").ok
    try:
        told = kernel.run("%%img2img start --out begun\na cat")
        assert told.ok and "Defaults of this notebook: --num-inference-steps 3 --seed 5" in told.texts()
        assert kernel.run("print(begun.recipe.num_inference_steps, begun.recipe.seed)").stream.split() == ["3", "5"]
        assert kernel.run("%%chain start --out chained\n[sd15]\na cat\n[comic -n 2]\na dog").ok
        assert kernel.run("print(*[step.num_inference_steps for step in chained.chain])").stream.split() == ["3", "2"]
    finally:
        kernel.run("%diffuse defaults none")
